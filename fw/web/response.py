"""From values to an answer."""

from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Any, Final

import orjson
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import istr

from fw.errors import Problem
from fw.web.trace import X_REQUEST_ID, request_id

NAME: Final = 64
"""How many characters of an unknown field's name an error shows."""
TAGS_CHARACTERS: Final = 1000
"""The longest `If-None-Match` that is looked at: some 30 tags."""


NAME_OF_SERVER: Final = "FeedbackWave"
USUAL: Final = (
    (istr(hdrs.VARY), "Origin"),
    (istr(hdrs.CACHE_CONTROL), "no-store"),
    (istr("X-Content-Type-Options"), "nosniff"),
    (istr("Content-Security-Policy"), "default-src 'none'; frame-ancestors 'none'"),
)
"""The policy lets browsers load and frame nothing, since most responses are no pages (OWASP REST Security Cheat Sheet)."""


def add_usual(response: web.StreamResponse) -> None:
    """Put the usual headers on a response, except those that it sets itself."""
    headers = response.headers
    headers[hdrs.SERVER] = NAME_OF_SERVER
    for name, value in USUAL:
        if name not in headers:
            headers[name] = value


class JsonResponse(web.Response):
    """A JSON response. If nothing is special about it and its request, it writes its head itself, together with its body.

    Most are like that, and aiohttp's way, in which hooks add to a dictionary of headers, takes a tenth of a request's time.
    """

    def __init__(self, body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(body=body, status=status, headers=headers, content_type="application/json")

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        body = self.body
        # Its type is its only header, and nobody has put cookies on it or wants the connection closed.
        is_plain = len(self.headers) == 1 and not self._cookies and self.keep_alive is None
        if not is_plain or not isinstance(body, bytes) or not is_usual(request):
            return await super().prepare(request)
        head = head_of(self.status, int(time()))
        writer = request.writer
        await writer.write(b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (head, request_id(request).encode(), len(body), body))
        # Nothing is left to do for `write_eof`.
        self._keep_alive, self._eof_sent, self._body_length = True, True, writer.output_size
        return writer


def is_usual(request: web.BaseRequest) -> bool:
    """Tell whether a request's response needs no headers of its own: for CORS, or for the end of the connection."""
    return (
        request.keep_alive
        and request.version == HttpVersion11
        and request.method != hdrs.METH_HEAD
        and hdrs.ORIGIN not in request.headers
    )


@lru_cache(16)
def head_of(status: int, second: int) -> bytes:
    """Return the head of a JSON response of this second, as far as the value of the last header, the request's id."""
    headers = (
        (hdrs.CONTENT_TYPE, "application/json"),
        (hdrs.DATE, formatdate(second, usegmt=True)),
        (hdrs.SERVER, NAME_OF_SERVER),
        *USUAL,
        (X_REQUEST_ID, ""),
    )
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode()


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
    return JsonResponse(body, status=status, headers=headers)


def reply_problem(problem: Problem, known_id: str) -> web.Response:
    """Return the response for a problem (RFC 9457)."""
    body = problem_object(type(problem), problem.detail, known_id, problem.errors)
    response = web.Response(
        body=orjson.dumps(body), status=problem.status, headers=problem.headers, content_type="application/problem+json"
    )
    if hdrs.CONNECTION in problem.headers:
        # There it says that the connection ends.
        response.force_close()
    return response


def problem_object(
    problem: type[Problem], detail: str, known_id: str, errors: Mapping[Any, Any] | None = None
) -> dict[str, Any]:
    """Return the JSON object of a problem."""
    told: dict[str, Any] = {
        "type": f"/problems/{problem.slug}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        "request_id": known_id,
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
