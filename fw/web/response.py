"""From values to an answer."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import hdrs, web

from fw.errors import Problem

NAME: Final = 64
"""How many characters of an unknown field's name an error shows."""
TAGS_CHARACTERS: Final = 1000
"""The longest `If-None-Match` that is looked at: some 30 tags."""


async def send(request: web.Request, response: web.StreamResponse) -> None:
    """Send a response, and wait until the client has taken most of it: a turn that ends only then bounds what waits."""
    try:
        await response.prepare(request)
        await response.write_eof()
        if isinstance(response, web.Response):
            # Else aiohttp keeps it in memory until the connection's next request, which may never come.
            response.body = None
        if request.protocol.writing_paused:
            await request.writer.drain()
    except ConnectionError:
        # aiohttp finishes the response after this, and handles the lost connection there.
        return


def reply(values: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a JSON response: rows become objects, and times end in Z."""
    body = orjson.dumps(values, default=dict, option=orjson.OPT_UTC_Z)
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def reply_problem(problem: Problem, request_id: str) -> web.Response:
    """Return the response for a problem (RFC 9457)."""
    body = problem_object(type(problem), problem.detail, request_id, problem.errors)
    return web.Response(
        body=orjson.dumps(body), status=problem.status, headers=problem.headers, content_type="application/problem+json"
    )


def problem_object(
    problem: type[Problem], detail: str, request_id: str, errors: Mapping[Any, Any] | None = None
) -> dict[str, Any]:
    """Return the JSON object of a problem."""
    told: dict[str, Any] = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "request_id": request_id,
    }
    return told if errors is None else {**told, "errors": _printable(errors)}


def _printable(value: Any) -> Any:
    """Replace what UTF-8 cannot encode, and shorten names: the client chooses those of unknown fields."""
    if isinstance(value, Mapping):
        return {_shortened(_printable(str(key))): _printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_printable(item) for item in value]
    return str(value).encode("utf-8", "replace").decode()


def _shortened(name: str) -> str:
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def not_modified(request: web.Request, etag: str) -> bool:
    """Tell whether the client already has the state that this ETag (without quotes) names (RFC 9110, 13.1.2)."""
    if len(request.headers.get(hdrs.IF_NONE_MATCH, "")) > TAGS_CHARACTERS:
        return False
    wanted = request.if_none_match
    return wanted is not None and any(tag.value in (etag, "*") for tag in wanted)
