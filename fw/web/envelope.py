"""What every request and response gets: an id, the usual headers, and errors as problems."""

import logging
from typing import Final

from aiohttp import hdrs, web

from fw.config import CONFIG
from fw.database.rotation import ASKER, Kind
from fw.errors import BY_STATUS, BadRequest, ExpectationFailed, Forbidden, Problem, TooLarge
from fw.web.address import caller_bucket
from fw.web.heads import length
from fw.web.origin import ORIGIN_CHARACTERS
from fw.web.response import NAME_OF_SERVER, add_usual, reply_problem
from fw.web.route import Handler
from fw.web.trace import X_REQUEST_ID, identify, request_id

log = logging.getLogger("fw.request")
EXPOSED: Final = ("ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID")
"""The headers of a response that a page of another site may read."""
CLIENT_LEFT: Final = 499
"""The status in the log of a request whose client did not wait for the answer, as nginx has it."""
HEAD_BYTES: Final = 32 * 1024
FEW_FIELDS: Final = 12
PREFLIGHT_CHARACTERS: Final = 1000
"""How much a preflight may list. It is repeated, and nginx takes an answer whose head has 4 kB for a failure of the server."""


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the usual headers on a response, and the CORS headers of the API if the request has no route."""
    if response.status >= 400 and response.content_type == "text/plain" and isinstance(response, web.Response):
        word_as_problem(response, request_id(request))
    response.headers[X_REQUEST_ID] = request_id(request)
    if response.status == 101:
        # A socket would keep the others in memory for as long as it lives.
        response.headers[hdrs.SERVER] = NAME_OF_SERVER
        return
    add_usual(response)
    origin = request.headers.get(hdrs.ORIGIN)
    if origin and len(origin) <= ORIGIN_CHARACTERS and request.match_info.route.resource is None:
        allowed = request.app[CONFIG].cors_origins
        if origin in allowed or "*" in allowed:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ",".join(EXPOSED)


def word_as_problem(response: web.Response, known_id: str) -> None:
    """Make a problem of a refusal that aiohttp sent before any middleware ran: an `Expect` at an unknown path."""
    problem = reply_problem(BY_STATUS.get(response.status, Problem)(), known_id)
    response.body = problem.body
    response.headers[hdrs.CONTENT_TYPE] = problem.headers[hdrs.CONTENT_TYPE]
    response.headers[hdrs.CONTENT_LENGTH] = str(problem.content_length)


def reply_last(problem: Problem, request: web.BaseRequest) -> web.Response:
    """Answer with a problem, and close the connection."""
    response = reply_problem(problem, request_id(request))
    response.force_close()
    return response


def is_too_long(request: web.Request) -> bool:
    """Tell whether a head is one that takes long to read: the connection keeps its last one in memory, too."""
    fields = request.raw_headers
    # Most heads are short, and not added up: the connection of a long one is not kept.
    return (len(fields) > FEW_FIELDS or not request.keep_alive) and length(fields) > HEAD_BYTES


def refuse_long_preflight(request: web.Request) -> None:
    """Raises `BadRequest`."""
    if request.method != hdrs.METH_OPTIONS:
        return
    listed = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "")
    if len(listed) > PREFLIGHT_CHARACTERS or len(request.headers.get(hdrs.ORIGIN, "")) > ORIGIN_CHARACTERS:
        raise BadRequest("A preflight may not be that long.")


@web.middleware
async def envelope(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem. As the outermost middleware it gets the router's errors too."""
    identify(request)
    ASKER.set(lambda: (Kind.ANYBODY, caller_bucket(request)))
    try:
        if is_too_long(request):
            return reply_last(BadRequest("The head may have 32 KiB at most."), request)
        refuse_long_preflight(request)
        if request.protocol.writing_paused:
            # The client has not read its earlier answers yet, so no further one is made.
            await request.writer.drain()
        return await handler(request)
    except TooLarge as problem:
        return reply_last(problem, request)
    except Problem as problem:
        return reply_problem(problem, request_id(request))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        # An unknown path's is kept by the request, which its traceback keeps, until the collector runs.
        error.__traceback__ = None
        return reply_problem(from_framework(error), request_id(request))
    except web.RequestPayloadError:
        return reply_problem(BadRequest("The body is not what its headers say."), request_id(request))
    except ConnectionError:
        # The client has left, which aiohttp finds out when it writes this. An error that is raised to it would keep the whole
        # connection in memory until the collector runs.
        return web.Response(status=CLIENT_LEFT, reason="Client Closed Request")
    except Exception:
        log.exception("request failed", extra={"request_id": request_id(request)})
        return reply_problem(Problem(), request_id(request))


def from_framework(error: web.HTTPException) -> Problem:
    if isinstance(error, web.HTTPForbidden):
        # aiohttp-cors raises it at a preflight.
        return Forbidden("A page of that site may not make this call, or the preflight does not say which call it is.")
    problem = BY_STATUS.get(error.status, Problem)()
    if isinstance(error, web.HTTPMethodNotAllowed):
        problem.headers[hdrs.ALLOW] = ", ".join(sorted(error.allowed_methods))
    return problem


async def meet_expectation(request: web.Request) -> web.StreamResponse | None:
    """Answer `Expect: 100-continue` with 100, and any other expectation with a problem."""
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        return reply_problem(ExpectationFailed(), request_id(request))
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # These bytes are not part of the response.
    request.writer.output_size = 0
    return None
