"""The live channel: the changes of an inbox over a WebSocket, from the reader's cursor on."""

import logging
from typing import Final

from aiohttp import WSMsgType, hdrs, web
from marshmallow import fields
from marshmallow.validate import Equal

from fw.accounts.authentication import bearer_token, check_scope
from fw.accounts.cookies import cookie_token
from fw.accounts.tokens import CALLER, TOKENS, Caller
from fw.config import CONFIG
from fw.errors import (
    Forbidden,
    Invalid,
    MalformedJson,
    OriginNotAllowed,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UpgradeRequired,
)
from fw.inbox.hub import HUB
from fw.inbox.newcomers import NEWCOMERS
from fw.inbox.readers import READERS
from fw.inbox.sockets import CLOSE_SECONDS, Close, FloodError, Socket, end, next_message, say_goodbye
from fw.web.address import caller_bucket
from fw.web.fields import BIGGEST, Whole, says
from fw.web.operation import Answer, operation
from fw.web.origin import is_own
from fw.web.request import parse_object, read_query, validate
from fw.web.route import Access
from fw.web.schemas import Body, Query

log = logging.getLogger("fw.live")

PROTOCOL: Final = "feedbackwave"
BEARER: Final = "bearer."
AUTH_SECONDS: Final = 10.0
MESSAGE_BYTES: Final = 4096


class Live(Query):
    since = Whole(0, BIGGEST, **says("The cursor that you have; without it, what happens from now on."))


class Hello(Body):
    """The first message of a live socket that came without a token."""

    component = "FeedbackHello"
    type = fields.String(required=True, validate=Equal("auth"))
    token = fields.String(required=True)


HELLO: Final = Hello()


@operation(
    "live_follow",
    Answer(101),
    query=Live(),
    refuses=(Forbidden, OriginNotAllowed, TooManyRequests, UpgradeRequired),
    optional_tokens=("cookie", "bearer"),
)
async def follow(request: web.Request) -> web.StreamResponse:
    """Send what happens to the caller's inbox until either side closes the socket."""
    refuse_foreign_origin(request)
    since = read_query(request).get("since")
    # No compression: it takes three times the memory, and frames would no longer be the same for all readers. No heartbeat
    # of aiohttp's: it would close slow readers, which answer a ping only when they have read everything sent before it.
    ws = web.WebSocketResponse(
        protocols=(PROTOCOL,), compress=False, autoping=False, autoclose=False, max_msg_size=MESSAGE_BYTES
    )
    if request.method != hdrs.METH_GET or not ws.can_prepare(request):
        raise UpgradeRequired
    try:
        await follow_caller(request, ws, since)
    finally:
        if ws.prepared and request.transport is not None:
            await end(ws, request.transport)
    return ws


async def follow_caller(request: web.Request, ws: web.WebSocketResponse, since: int | None) -> None:
    """Find out whose socket it is, before the upgrade or after it, and send what happens to the inbox."""
    # Every local name lives as long as the socket, so the token gets none.
    caller = await caller_of(request, token_of(request))
    if token_of(request) is None:
        await follow_later(request, ws, since)
    elif caller is None:
        await ws.prepare(request)
        await part(request, ws, Close.UNAUTHORIZED)
    else:
        async with request.app[READERS].place(caller.user_id):
            await ws.prepare(request)
            await send_changes(request, ws, caller, since)


async def part(request: web.Request, ws: web.WebSocketResponse, reason: Close) -> None:
    if request.transport is not None:
        await say_goodbye(ws, request.transport, reason, CLOSE_SECONDS)


async def follow_later(request: web.Request, ws: web.WebSocketResponse, since: int | None) -> None:
    """Wait for the token of a socket that came without one, then follow. Raises `TooManyRequests` before the upgrade only."""
    try:
        with request.app[NEWCOMERS].admitted(caller_bucket(request)):
            await ws.prepare(request)
            caller = await first_message(request, ws)
            if isinstance(caller, Close):
                await part(request, ws, caller)
                return
        async with request.app[READERS].place(caller.user_id):
            await send_changes(request, ws, caller, since)
    except TooManyRequests:
        if not ws.prepared:
            raise
        await part(request, ws, Close.TOO_MANY)
    except Unavailable:
        await part(request, ws, Close.RESTART)


def refuse_foreign_origin(request: web.Request) -> None:
    """Raises `OriginNotAllowed` if a page of another site opens the socket: browsers let any page try, and say which it is."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return
    allowed = request.app[CONFIG].cors_origins
    if origin in allowed or "*" in allowed:
        return
    if not is_own(request, origin):
        raise OriginNotAllowed("A page of that site may not open a live channel.")


def token_of(request: web.Request) -> str | None:
    """Return the token of the header, or (browsers) of the subprotocols or the cookie: None if there is none, "" if it is no
    bearer token. Raises `Forbidden` if there is a cookie, and no page of our own opens the socket.
    """
    if hdrs.AUTHORIZATION in request.headers:
        try:
            return bearer_token(request)
        except Unauthorized:
            return ""
    offered = [part.strip() for line in request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, []) for part in line.split(",")]
    borne = (part.removeprefix(BEARER) for part in offered if part.startswith(BEARER))
    token = next(borne, None) if PROTOCOL in offered else None
    return cookie_token(request) if token is None else token


async def caller_of(request: web.Request, token: str | None) -> Caller | None:
    """Return the caller of a token; None if it is bad, which the close code tells after the upgrade, where browsers see it."""
    if token is None:
        return None
    try:
        caller = await request.app[TOKENS].authenticate(token)
        check_scope(caller, Access.OWNER)
    except (Unauthorized, Forbidden):
        return None
    return caller


async def first_message(request: web.Request, ws: web.WebSocketResponse) -> Caller | Close:
    """Wait for `{"type": "auth", "token": ...}`. Returns whose token it is, or why the socket has to be closed."""
    newcomers = request.app[NEWCOMERS]
    try:
        # Not receive(timeout=): each pong would start that time again.
        async with newcomers.timeout(AUTH_SECONDS):
            message = await next_message(ws)
    except TimeoutError:
        return Close.RESTART if newcomers.is_closed else Close.UNAUTHORIZED
    except FloodError:
        message = None
    if message is None or message.type is not WSMsgType.TEXT:
        return Close.FORBIDDEN_MESSAGE
    try:
        hello = validate(HELLO, parse_object(message.data.encode("utf-8", "surrogatepass")))
    except (MalformedJson, Invalid):
        return Close.FORBIDDEN_MESSAGE
    return await caller_of(request, hello["token"]) or Close.UNAUTHORIZED


async def send_changes(request: web.Request, ws: web.WebSocketResponse, caller: Caller, since: int | None) -> None:
    """Send what happens to the caller's inbox until either side closes the socket."""
    transport = request.transport
    if transport is None:
        return
    request[CALLER] = caller
    socket = Socket(ws, transport, request.writer, caller.user_id, caller.session_id, since)
    try:
        await request.app[HUB].follow(socket, caller.seconds_left)
    except ConnectionError:
        transport.abort()
    except Exception:
        # After the upgrade no HTTP response can be sent, so the close code tells.
        log.exception("live channel failed")
        await part(request, ws, Close.FAILED)
