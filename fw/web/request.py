"""From a request's body or query to validated values, and from values to a reply."""

import asyncio
import json
from collections.abc import Mapping
from math import isinf
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from aiohttp import hdrs, web
from marshmallow import Schema, ValidationError

from fw.errors import Invalid, MalformedJson, RequestTimeout, UnsupportedMediaType
from fw.web.operation import FORM, JSON, operation_of

BODY_SECONDS: Final = 20.0
"""How long a body of at most 64 KiB may take."""
NAME: Final = 64
"""How much of the name of an unknown field is told."""
FORM_FIELDS: Final = 100
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
"""The standard parser keeps what others lose: long integers, and lone surrogates, to be named as such."""


async def read_object(request: web.Request) -> dict[str, Any]:
    """Read the body as one object of the kind that the operation takes, and validate it.

    Raises `UnsupportedMediaType`, `MalformedJson`, `Invalid`.
    """
    operation = operation_of(request.match_info.handler)
    if hdrs.CONTENT_ENCODING in request.headers:
        refuse_codings(request)
    raw = await read_body(request)
    if not raw and operation.is_body_optional:
        return validate(operation.body[JSON], {})
    media = media_type(request)
    if media not in operation.body:
        raise UnsupportedMediaType
    return validate(operation.body[media], parse_form(raw) if media == FORM else parse_object(raw))


def refuse_codings(request: web.Request) -> None:
    """Refuse a body that is packed, and say so (RFC 9110, 12.5.3). Raises `UnsupportedMediaType`.

    Nothing here is so long that packing it is worth while, and a thousandth of what it costs to unpack costs to send.
    """
    named = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING)).lower().split(",")
    if {coding.strip() for coding in named} - {"", "identity"}:
        raise UnsupportedMediaType(
            "Send the body as it is: no Content-Encoding is taken here.", headers={"Accept-Encoding": "identity"}
        )


async def read_body(request: web.Request) -> bytes:
    """Read the whole body. Raises `RequestTimeout` where it does not come in time."""
    if request.content.is_eof():
        # It has come with the head, as most do.
        return await request.read()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise RequestTimeout from None


def media_type(request: web.Request) -> str:
    """Tell what the body is: JSON where nothing is said. Raises `UnsupportedMediaType` for what is said not to be in UTF-8.

    No other encoding is ever decoded: some of Python's take a second for 64 KiB.
    """
    named = request.headers.get(hdrs.CONTENT_TYPE)
    if named is None:
        return JSON
    if len(named) > TYPE_CHARACTERS:
        # The parser takes a tenth of a second for 8 kB of parameters.
        raise UnsupportedMediaType
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType
    media = request.content_type
    return JSON if media.startswith("application/") and media.endswith("+json") else media


def parse_form(raw: bytes) -> dict[str, Any]:
    """Parse a form; of a field that comes twice the first counts. Raises `UnsupportedMediaType`, `Invalid`."""
    # A body has room for 32,000 fields, which take a while.
    if raw.count(b"&") >= FORM_FIELDS:
        raise Invalid(errors={"_schema": [f"Must have at most {FORM_FIELDS} fields."]})
    try:
        pairs = parse_qsl(raw.decode().rstrip(), keep_blank_values=True)
    except ValueError:
        raise UnsupportedMediaType from None
    return dict(reversed(pairs))


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse strictly. Raises `MalformedJson`."""
    try:
        parsed = DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise MalformedJson from None
    if not isinstance(parsed, dict):
        raise MalformedJson
    return parsed


def read_query(request: web.Request) -> dict[str, Any]:
    """Validate the query string; of a parameter that comes twice the first counts. Raises `Invalid`."""
    return validate(operation_of(request.match_info.handler).query, {name: request.query[name] for name in request.query})


def read_headers(request: web.Request) -> dict[str, Any]:
    """Validate what the operation takes of the request's head. Raises `Invalid`."""
    return validate(operation_of(request.match_info.handler).headers, request.headers)


def validate(schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(values)
    except ValidationError as error:
        raise invalid(error) from None
    return loaded


def invalid(error: ValidationError) -> Invalid:
    """Make a problem of what a schema found."""
    return Invalid(errors=error.messages_dict)


def _shortened(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"
