"""The live channel: the changes of an inbox over a WebSocket, from the reader's cursor on."""

import asyncio
from collections.abc import Awaitable
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
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
from fw.inbox.sockets import Socket
from fw.inbox.websocket import Close, upgrade
from fw.web.address import caller_bucket
from fw.web.fields import BIGGEST, Whole, says
from fw.web.header_lists import members_of
from fw.web.operation import Answer, operation
from fw.web.origin import is_own
from fw.web.request import parse_object, read_query, validate
from fw.web.route import Access
from fw.web.schemas import Body, Query

PROTOCOL: Final = "feedbackwave"
BEARER: Final = "bearer."
AUTH_SECONDS: Final = 10.0


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
    socket = request.app[HUB].make_socket(read_query(request).get("since"))
    protocol = protocol_of(request)
    token = token_of(request)
    if token is None:
        return await follow_later(request, protocol, socket)
    # A bad token is told after the upgrade, where browsers see it.
    caller = await caller_of(request, token)
    if caller is None:
        response = await open_socket(request, protocol, socket)
        socket.close(Close.UNAUTHORIZED)
        return response
    request[CALLER] = caller
    async with request.app[READERS].place_to_keep(caller.user_id):
        response = await open_socket(request, protocol, socket)
    request.app[HUB].follow(socket, caller)
    return response


def protocol_of(request: web.Request) -> str | None:
    """Check a handshake, and return the subprotocol that it chooses. Raises `UpgradeRequired`."""
    try:
        ready = web.WebSocketResponse(protocols=(PROTOCOL,)).can_prepare(request)
    except ValueError:
        # A key that is not ASCII, an extension whose number has thousands of digits.
        raise UpgradeRequired from None
    if request.method != hdrs.METH_GET or request.version < HttpVersion11 or not ready:
        raise UpgradeRequired
    return ready.protocol


async def open_socket(request: web.Request, protocol: str | None, socket: Socket) -> web.StreamResponse:
    response = await upgrade(request, protocol, socket)
    request.app[HUB].welcome(socket)
    return response


async def follow_later(request: web.Request, protocol: str | None, socket: Socket) -> web.StreamResponse:
    """Follow once the token has come in the first message. Raises `TooManyRequests` before the upgrade only."""
    first = socket.first_message()
    with request.app[NEWCOMERS].admitted(caller_bucket(request), socket):
        response = await open_socket(request, protocol, socket)
        caller = await caller_of_message(request, socket, first)
    if caller is not None:
        request[CALLER] = caller
        try:
            await request.app[READERS].take(caller.user_id)
            request.app[HUB].follow(socket, caller)
        except TooManyRequests:
            socket.close(Close.TOO_MANY)
        except Unavailable:
            socket.close(Close.RESTART)
    return response


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
    offered = members_of(request, hdrs.SEC_WEBSOCKET_PROTOCOL)
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


async def caller_of_message(request: web.Request, socket: Socket, first: Awaitable[bytes | None]) -> Caller | None:
    """Wait for `{"type": "auth", "token": ...}`. Returns whose token it is; None if the socket has ended, or been closed."""
    try:
        async with asyncio.timeout(AUTH_SECONDS):
            message = await first
        if message is None:
            return None
        hello = validate(HELLO, parse_object(message))
        caller = await caller_of(request, hello["token"])
    except TimeoutError:
        caller = None
    except (MalformedJson, Invalid):
        socket.close(Close.FORBIDDEN_MESSAGE)
        return None
    except Unavailable:
        socket.close(Close.RESTART)
        return None
    if caller is None:
        socket.close(Close.UNAUTHORIZED)
    return caller
