"""From a request's body or query to validated values, and from values to a reply."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import orjson
from aiohttp import web
from marshmallow import Schema, ValidationError

from fw.errors import Invalid, MalformedJson, Problem, RequestTimeout, UnsupportedMediaType

BODY_SECONDS: Final = 20.0
"""How long a body of at most 64 KiB may take."""
FORM: Final = "application/x-www-form-urlencoded"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number


DECODER: Final = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
"""The standard parser keeps what others lose: long integers, and lone surrogates, to be named as such."""


async def read_object(request: web.Request, schema: Schema, *, optional: bool = False) -> dict[str, Any]:
    """Read the body as one JSON object and validate it; with `optional`, no body is an empty object.

    Raises `UnsupportedMediaType`, `MalformedJson`, `Invalid`.
    """
    raw = await read_body(request)
    if not raw and optional:
        return validate(schema, {})
    refuse_other_media(request)
    return validate(schema, parse_object(raw))


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


def refuse_other_media(request: web.Request) -> None:
    """Take JSON in UTF-8, said so or not said at all."""
    if "Content-Type" not in request.headers:
        return
    media = request.content_type
    is_json = media == "application/json" or (media.startswith("application/") and media.endswith("+json"))
    if not is_json or (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse strictly. Raises `MalformedJson`."""
    try:
        parsed = DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise MalformedJson from None
    if not isinstance(parsed, dict):
        raise MalformedJson
    return parsed


def read_query(request: web.Request, schema: Schema) -> dict[str, Any]:
    """Validate the query string; of a parameter that comes twice the first counts. Raises `Invalid`."""
    return validate(schema, {name: request.query[name] for name in request.query})


def validate(schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(values)
    except ValidationError as error:
        raise invalid(error) from None
    return loaded


def invalid(error: ValidationError) -> Invalid:
    """Make a problem of what a schema found."""
    return Invalid(errors=error.messages_dict)


def reply(values: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with JSON, rows as objects; times end in Z."""
    body = orjson.dumps(values, default=dict, option=orjson.OPT_UTC_Z)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def reply_problem(problem: Problem, request_id: str) -> web.Response:
    """Answer with a problem (RFC 9457)."""
    body: dict[str, Any] = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "request_id": request_id,
    }
    if problem.errors is not None:
        body["errors"] = _printable(problem.errors)
    return web.Response(
        body=orjson.dumps(body), status=problem.status, headers=problem.headers, content_type="application/problem+json"
    )


def _printable(value: Any) -> Any:
    """Replace what UTF-8 cannot carry: the names of unknown fields are the sender's own."""
    if isinstance(value, Mapping):
        return {_printable(str(key)): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return str(value).encode("utf-8", "replace").decode()


def not_modified(request: web.Request, etag: str) -> bool:
    """Tell whether the caller already has what this ETag (without quotes) names (RFC 9110, 13.1.2)."""
    wanted = request.if_none_match
    return wanted is not None and any(tag.value in (etag, "*") for tag in wanted)
