"""From a request's body, query or headers to validated values."""

import asyncio
import json
import re
from collections.abc import Mapping
from math import isinf
from typing import Any, Final, NoReturn

from aiohttp import hdrs, web
from marshmallow import Schema, ValidationError

from fw.errors import Invalid, MalformedJson, NotFound, RequestTimeout, UnsupportedMediaType
from fw.ids import is_id
from fw.web.header_lists import members_of
from fw.web.operation import FORM, JSON, operation_of

BODY: Final[web.RequestKey[bytes]] = web.RequestKey("body")
"""A body that did not come together with its head, once it is read."""
BODY_SECONDS: Final = 20.0
"""How long a body of at most 64 KiB may take."""
FORM_FIELDS: Final = 100
LONE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
"""A `%` that begins no escape of a form."""
LONE_MOST: Final = 1000
TYPE_CHARACTERS: Final = 200
"""The longest `Content-Type` that is looked at."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(text)
    return number


DECODER: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
"""The standard parser keeps long integers, and lone surrogates for the error that names them; faster parsers do not."""


async def read_object(request: web.Request) -> dict[str, Any]:
    """Read the body as one object of a media type that the operation takes, and validate it.

    Raises `UnsupportedMediaType`, `MalformedJson`, `Invalid`.
    """
    operation = operation_of(request.match_info.handler)
    refuse_codings(request)
    raw = await read_body(request)
    if not raw and operation.is_body_optional:
        return validate(operation.body[JSON], {})
    media = media_type(request)
    if media not in operation.body:
        raise UnsupportedMediaType
    return validate(operation.body[media], parse_form(raw) if media == FORM else parse_object(raw))


async def read_form(request: web.Request) -> dict[str, Any]:
    """Read the body as a form of a page, which is still to be validated. Raises `UnsupportedMediaType`, `Invalid`."""
    refuse_codings(request)
    if media_type(request) != FORM:
        raise UnsupportedMediaType
    return parse_form(await read_body(request))


def is_short(request: web.Request, most: int) -> bool:
    """Tell whether a form may be read before a limit counts, or although that refuses: to read a long one takes time."""
    return (request.content_length or most + 1) <= most


def refuse_codings(request: web.Request) -> None:
    """Raises `UnsupportedMediaType` if the body is compressed (RFC 9110, 12.5.3).

    No body here is long enough to be worth it, and a compressed body that takes a long time to unpack is cheap to send.
    """
    if hdrs.CONTENT_ENCODING not in request.headers:
        return
    named = {member.lower() for member in members_of(request, hdrs.CONTENT_ENCODING)}
    if named - {"", "identity"}:
        raise UnsupportedMediaType(
            "Send the body as it is: no Content-Encoding is taken here.", headers={"Accept-Encoding": "identity"}
        )


async def read_body(request: web.Request) -> bytes:
    """Read the whole body. Raises `RequestTimeout` if it does not come in time, `ConnectionError` if the client has left."""
    content = request.content
    if content.is_eof() and not content.at_eof():
        # The body has come together with the headers, as most do: aiohttp's way takes three times as long.
        body = content.read_nowait()
        if len(body) > request.client_max_size:
            raise web.HTTPRequestEntityTooLarge(request.client_max_size, len(body))
        return body
    known: bytes | None = request.get(BODY)
    if known is None:
        known = request[BODY] = await _read_slowly(request)
    return known


async def _read_slowly(request: web.Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while part := await request.content.readany():
                body += part
                if len(body) > request.client_max_size:
                    raise web.HTTPRequestEntityTooLarge(request.client_max_size, len(body))
        return bytes(body)
    except TimeoutError:
        raise RequestTimeout from None
    except ConnectionError as error:
        # The stream keeps this error, which knows the request by its traceback, and the request keeps the stream.
        error.__traceback__ = None
        raise ConnectionResetError from None
    except RuntimeError:
        if request.protocol.connected:
            raise
        # aiohttp's word for a client that left before the body was asked for.
        raise ConnectionResetError from None
    finally:
        # An error would keep it in memory, with all that it knows, until the collector runs.
        part = b""
        body.clear()


def media_type(request: web.Request) -> str:
    """Return the media type of the body, by default JSON. Raises `UnsupportedMediaType` if it cannot be parsed, or
    the charset is not UTF-8.

    No other encoding is decoded: some of Python's decoders take a second for 64 KiB.
    """
    named = request.headers.get(hdrs.CONTENT_TYPE, JSON)
    if named == JSON:
        return JSON
    if len(named) > TYPE_CHARACTERS:
        # The parser takes a tenth of a second for 8 kB of parameters.
        raise UnsupportedMediaType
    try:
        charset, media = request.charset or "utf-8", request.content_type
    except IndexError:
        # The standard library's parser fails so at a parameter such as `a*`.
        raise UnsupportedMediaType from None
    if charset.lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType
    return JSON if media.startswith("application/") and media.endswith("+json") else media


def parse_form(raw: bytes) -> dict[str, Any]:
    """Parse a form; if a field comes twice, the first counts. Raises `UnsupportedMediaType`, `Invalid`."""
    # A body has room for 32,000 fields, which would take long to parse.
    if raw.count(b"&") >= FORM_FIELDS:
        raise Invalid(errors={"_schema": [f"Must have at most {FORM_FIELDS} fields."]})
    try:
        pairs = [[unescape(part) for part in (*field.split(b"=", 1), b"")[:2]] for field in raw.rstrip().split(b"&") if field]
    except ValueError:
        raise UnsupportedMediaType from None
    return dict(reversed(pairs))


def unescape(text: bytes) -> str:
    """Decode a name or a value of a form (WHATWG URL, 5.1). Raises `ValueError` if it is not UTF-8, or has very many `%` that
    begin no escape: no browser sends those.

    The standard library's function takes 25 ms for 64 KiB of `%`. This one makes Python's escapes, which one call decodes.
    """
    text = text.replace(b"+", b" ")
    if b"%" in text:
        text = LONE.sub(b"%25", text, LONE_MOST).replace(b"\\", b"%5C")
        text = text.replace(b"%", b"\\x").decode("unicode_escape").encode("latin-1")
    return text.decode()


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse one JSON object. Raises `MalformedJson`, also for NaN, Infinity, and numbers that a double cannot hold."""
    try:
        parsed = DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise MalformedJson from None
    if not isinstance(parsed, dict):
        raise MalformedJson
    return parsed


def path_id(request: web.Request, name: str = "id") -> str:
    """Return the id in the path. Raises `NotFound` if it cannot be one."""
    found = request.match_info[name]
    if not is_id(found):
        raise NotFound
    return found


def read_query(request: web.Request) -> dict[str, Any]:
    """Validate the query string; if a parameter comes twice, the first counts. Raises `Invalid`."""
    return validate(operation_of(request.match_info.handler).query, {name: request.query[name] for name in request.query})


def read_headers(request: web.Request) -> dict[str, Any]:
    """Validate the headers that the operation takes. Raises `Invalid`."""
    return validate(operation_of(request.match_info.handler).headers, request.headers)


def validate(schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(values)
    except ValidationError as error:
        raise invalid(error) from None
    return loaded


def invalid(error: ValidationError) -> Invalid:
    """Return the problem that has a schema's errors."""
    return Invalid(errors=error.messages_dict)
