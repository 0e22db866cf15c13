"""The live channel: an inbox over a WebSocket, from the reader's own cursor."""

from typing import Final

from aiohttp import WSMsgType, hdrs, web
from yarl import URL

from fw import keys
from fw.errors import Invalid, MalformedJson, OriginNotAllowed, TooManyRequests, Unauthorized, Unavailable, UpgradeRequired
from fw.inbox.feed import Reading
from fw.inbox.hub import MOST_SOCKETS, Hub
from fw.inbox.live import Close, Socket
from fw.operations import Answer, operation
from fw.payload import parse_object, read_query, validate
from fw.schemas import feedback as schemas
from fw.schemas.rules import BIGGEST
from fw.tokens import Caller

PROTOCOL: Final = "feedbackwave"
BEARER: Final = "bearer."
AUTH_SECONDS: Final = 10.0
PING_SECONDS: Final = 25.0
"""Routers cut sockets that are idle for 55 s (Heroku)."""
MESSAGE_BYTES: Final = 4096
FULL: Final = {
    "Retry-After": "30",
    "RateLimit-Policy": f'"sockets";q={MOST_SOCKETS}',
    "RateLimit": '"sockets";r=0;t=30',
}


@operation(
    Answer(101),
    query=schemas.LIVE,
    refuses=(OriginNotAllowed, TooManyRequests, UpgradeRequired),
    optional_token="bearer",
)
async def follow(request: web.Request) -> web.StreamResponse:
    """Send what happens to the caller's inbox until one of us leaves."""
    refuse_foreign_origin(request)
    since = read_query(request).get("since")
    # No compression: it costs three times the memory, and frames would no longer be the same for all readers.
    ws = web.WebSocketResponse(
        protocols=(PROTOCOL,), heartbeat=PING_SECONDS, compress=False, max_msg_size=MESSAGE_BYTES, timeout=2.0
    )
    if not ws.can_prepare(request):
        raise UpgradeRequired
    token = token_of(request)
    is_named, caller = token is not None, None if token is None else await who(request, token)
    # Every name here lives as long as the socket.
    del token
    if caller and request.app[keys.HUB].is_full(caller.user_id):
        raise TooManyRequests("This account has as many live sockets as it may.", headers=FULL)
    await ws.prepare(request)
    if not is_named:
        caller = await first_message(request, ws)
    if ws.closed:
        return ws
    if caller is None:
        await ws.close(code=Close.UNAUTHORIZED)
    elif request.app[keys.HUB].is_full(caller.user_id):
        await ws.close(code=Close.TOO_MANY)
    else:
        await converse(request, ws, caller, since)
    return ws


def refuse_foreign_origin(request: web.Request) -> None:
    """A browser lets any page open a socket and says which: only ours, and those of the API, may."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return
    allowed = request.app[keys.CONFIG].cors_origins
    if origin in allowed or "*" in allowed:
        return
    try:
        page = URL(origin)
        own = page.host is not None and page.authority == URL(f"{page.scheme}://{request.host}").authority
    except ValueError:
        own = False
    if not own:
        raise OriginNotAllowed("A page of that site may not open a live channel.")


def token_of(request: web.Request) -> str | None:
    """Return the token of the header or, for browsers, of the subprotocols; None where neither is there."""
    authorization = request.headers.get(hdrs.AUTHORIZATION)
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    offered = [part.strip() for line in request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, []) for part in line.split(",")]
    if PROTOCOL not in offered:
        return None
    return next((part.removeprefix(BEARER) for part in offered if part.startswith(BEARER)), None)


async def who(request: web.Request, token: str) -> Caller | None:
    """Return whose token this is, or None: a bad one is told after the upgrade, where a browser can see it."""
    try:
        caller = await request.app[keys.TOKENS].authenticate(token)
    except Unauthorized:
        return None
    return None if caller.scope else caller


async def first_message(request: web.Request, ws: web.WebSocketResponse) -> Caller | None:
    """Wait for `{"type": "auth", "token": ...}`; None where it does not come in time or is no good."""
    try:
        message = await ws.receive(timeout=AUTH_SECONDS)
    except TimeoutError:
        return None
    if message.type is not WSMsgType.TEXT:
        if not ws.closed:
            await ws.close(code=Close.FORBIDDEN_MESSAGE)
        return None
    try:
        hello = validate(schemas.HELLO, parse_object(message.data.encode("utf-8", "surrogatepass")))
    except (MalformedJson, Invalid):
        await ws.close(code=Close.FORBIDDEN_MESSAGE)
        return None
    return await who(request, hello["token"])


async def converse(request: web.Request, ws: web.WebSocketResponse, caller: Caller, since: int | None) -> None:
    """Have a socket catch up and go live, and wait for its end."""
    hub, transport = request.app[keys.HUB], request.transport
    if transport is None:
        return
    request[keys.CALLER] = caller
    socket = Socket(ws, transport, caller.user_id, caller.session_id)
    hub.join(socket)
    try:
        # The session may have ended between its check and now.
        hub.doubt([caller.user_id])
        reason = await socket.run(tell(request, socket, since), caller.seconds_left)
        if reason:
            hub.closed[reason] += 1
    except ConnectionError:
        transport.abort()
    finally:
        hub.leave(socket)


async def tell(request: web.Request, socket: Socket, since: int | None) -> Close | None:
    """Tell the reader what it has missed; return why it has to leave, where it has to."""
    try:
        await catch_up(request, socket, since)
    except Unauthorized:
        return Close.UNAUTHORIZED
    except Unavailable:
        return Close.RESTART
    return None


async def catch_up(request: web.Request, socket: Socket, since: int | None) -> None:
    """Greet, replay what the reader has missed, and go live without a gap."""
    hub, feed = request.app[keys.HUB], request.app[keys.FEED]
    moves = hub.moves(socket.user_id)
    reading = await feed.read(socket.user_id, BIGGEST if since is None else since)
    await socket.send({"event": "hello", "cursor": reading.position, "unread_count": reading.unread_count})
    if since is None:
        socket.cursor = reading.position
    else:
        await replay(hub, socket, reading)
    while reading.more or not hub.go_live(socket, moves):
        moves = hub.moves(socket.user_id)
        reading = await feed.read(socket.user_id, socket.cursor)
        await replay(hub, socket, reading)


async def replay(hub: Hub, socket: Socket, reading: Reading) -> None:
    for event in reading.events():
        await socket.send(event)
        hub.sent += 1
    socket.cursor = reading.cursor
