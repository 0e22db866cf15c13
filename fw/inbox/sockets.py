"""One live socket: what is written to it, and how it ends."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from enum import IntEnum
from typing import Any, Final

import orjson
from aiohttp import WSCloseCode, WSMessage, WSMsgType, web
from aiohttp.abc import AbstractStreamWriter

from fw.inbox.feed import Reading
from fw.web.progress import not_taken

BUFFER_BYTES: Final = 256 * 1024
"""How much may wait in memory for a reader; one that is further behind is sent the rest as it takes it."""
STALLED_SECONDS: Final = 15.0
"""How long a reader may take nothing while something waits for it."""
PING_SECONDS: Final = 25.0
"""Routers cut sockets that are idle for 55 s (Heroku)."""
CLOSE_SECONDS: Final = 3.0
LINGER_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.1
CONTROLS_A_SECOND: Final = 10
"""How many pings and pongs a client may send."""
FRAMES_AT_END: Final = 50
"""What a client may have sent before it hears of the end."""
LAST: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
PING: Final = b"\x89\x00"
"""A ping without a payload (RFC 6455, 5.5.2)."""


class Close(IntEnum):
    """Why the server closes a socket."""

    FAILED = 1011
    RESTART = 1012
    FORBIDDEN_MESSAGE = 4400
    UNAUTHORIZED = 4401
    TOO_SLOW = 4408
    TOO_MANY = 4429


class FloodError(Exception):
    """The client sends too many pings and pongs."""


async def next_message(ws: web.WebSocketResponse) -> WSMessage:
    """Return the next message that is neither a ping nor a pong; pings are answered. Raises `FloodError`.

    aiohttp's own handling of pings lets no other task run as long as more of them are there.
    """
    loop = asyncio.get_running_loop()
    count, begun_at = 0, loop.time()
    while (message := await ws.receive()).type in (WSMsgType.PING, WSMsgType.PONG):
        if loop.time() - begun_at > 1:
            count, begun_at = 0, loop.time()
        count += 1
        if count > CONTROLS_A_SECOND:
            raise FloodError
        if message.type is WSMsgType.PING:
            await ws.pong(message.data)
        await asyncio.sleep(0)
    return message


async def say_goodbye(ws: web.WebSocketResponse, transport: asyncio.Transport, reason: Close, seconds: float) -> None:
    """Close a socket as RFC 6455 (7.1.1) wants it: the server waits for the client's own close, for a while.

    Not by aiohttp's own way, which takes in whatever comes until then, and lets nobody else run.
    """
    try:
        async with asyncio.timeout(seconds):
            await ws.send_frame(reason.to_bytes(2, "big"), WSMsgType.CLOSE)
            for _ in range(FRAMES_AT_END):
                if (await ws.receive()).type in LAST:
                    break
                await asyncio.sleep(0)
    except (TimeoutError, ConnectionError):
        pass
    finally:
        transport.close()


async def end(ws: web.WebSocketResponse, transport: asyncio.Transport) -> None:
    """Close the connection of a socket, whichever way the socket ended, even if the client takes nothing more.

    Without it aiohttp would close the socket in its own way, and the event loop the connection only once all is written.
    """
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            if not transport.is_closing():
                # The client's own close is answered.
                await ws.send_frame(WSCloseCode.OK.to_bytes(2, "big"), WSMsgType.CLOSE)
                transport.close()
            while transport.get_write_buffer_size():  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
    except (TimeoutError, ConnectionError):
        pass
    finally:
        if not transport.is_closing() or transport.get_write_buffer_size():
            transport.abort()


class Socket:
    """A reader of an inbox.

    A live one is written to without waiting. If more than `BUFFER_BYTES` wait in its transport it is live no more, and catches
    up again: then no more is read from the database than it takes.
    """

    __slots__ = (
        "_pinged_at",
        "_reason",
        "_scope",
        "_taken",
        "_taken_at",
        "_transport",
        "_writer",
        "_written",
        "_ws",
        "cursor",
        "is_greeted",
        "is_live",
        "session_id",
        "user_id",
    )

    def __init__(
        self,
        ws: web.WebSocketResponse,
        transport: asyncio.Transport,
        writer: AbstractStreamWriter,
        user_id: str,
        session_id: str,
        since: int | None,
    ) -> None:
        self._ws = ws
        self._transport = transport
        self._writer = writer
        self._scope: asyncio.Timeout | None = None
        self._reason: Close | None = None
        self._written = self._taken = 0
        self._pinged_at = self._taken_at = asyncio.get_running_loop().time()
        self.user_id = user_id
        self.session_id = session_id
        self.cursor = since
        """Up to where the reader has been sent everything; None if it has been sent nothing and wants nothing older."""
        self.is_greeted = False
        self.is_live = False

    async def run(self, catch_up: Callable[["Socket"], Awaitable[Close | None]], seconds: float) -> Close | None:
        """Serve the reader until it leaves, `close` is called, or its session ends after so many seconds; then close it.

        `catch_up` is called first, and whenever the reader has fallen behind; it returns why the socket has to close, or None.
        Returns why the server closed the socket; None if the reader left.
        """
        end = asyncio.get_running_loop().time() + seconds
        reason = None
        while reason is None:
            self._scope = asyncio.timeout_at(end)
            try:
                async with self._scope:
                    reason = await catch_up(self)
                    if reason is None:
                        # A reader may send no messages: all that may come is the close.
                        if (await next_message(self._ws)).type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                            return None
                        reason = Close.FORBIDDEN_MESSAGE
            except FloodError:
                # There is no closing handshake with a client that floods.
                self._transport.close()
                return Close.FORBIDDEN_MESSAGE
            except TimeoutError:
                if not self._scope.expired():
                    raise
                reason = self._reason
                if reason is None and asyncio.get_running_loop().time() >= end:
                    reason = Close.UNAUTHORIZED
        self._reason = reason
        await self._say_goodbye(reason)
        return reason

    def close(self, reason: Close) -> None:
        """Have `run` end; the first reason counts."""
        if self._reason is None:
            self._reason = reason
            self._interrupt()

    def hurry(self, reason: Close) -> None:
        """Have `run` end; if it is already ending, it gets `CLOSE_SECONDS` at most."""
        if self._reason is None:
            self.close(reason)
        elif self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time() + CLOSE_SECONDS)

    def _interrupt(self) -> None:
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    def replay(self, reading: Reading) -> int:
        """Write the events of a reading to this reader, which is not live; the first time after a `hello`. Returns how many."""
        events: list[dict[str, Any]] = []
        if not self.is_greeted:
            self.is_greeted = True
            events.append({"event": "hello", "cursor": reading.position, "unread_count": reading.unread_count})
        if self.cursor is None:
            self.cursor = reading.position
        else:
            events += reading.events()
            self.cursor = reading.cursor
        self._write(as_frames(events))
        return len(reading.rows)

    async def drain(self) -> None:
        """Wait until the reader has taken most of what was written. Raises `ConnectionError` if it has left."""
        if self._transport.is_closing():
            # The writer's own `drain` would return.
            raise ConnectionResetError
        await self._writer.drain()

    def deliver(self, reading: Reading, frames: bytes) -> None:
        """Write what is new to this reader, if it is live: `frames`, if its cursor is where the reading began."""
        if self._reason or not self.is_live:
            return
        if self.cursor != reading.since and not reading.is_lost:
            frames = as_frames(reading.events(self.cursor))
        self.cursor = reading.cursor if reading.is_lost else max(self.cursor or 0, reading.cursor)
        self._write(frames)
        if self._transport.get_write_buffer_size() > BUFFER_BYTES:
            self.is_live = False
            self._interrupt()

    def _write(self, frames: bytes) -> None:
        if self._transport.is_closing():
            # The reader has left; `run` is about to end.
            return
        self._written += len(frames)
        self._transport.write(frames)

    def tend(self, now: float) -> None:
        """Ping the reader when a ping is due, and close it if it has taken nothing for too long. Called about every second."""
        if self._reason:
            return
        is_waiting = self._transport.get_write_buffer_size() > 0
        is_due = now - self._pinged_at >= PING_SECONDS
        # Asking the kernel takes time, so it is done only if needed.
        if is_waiting or is_due:
            missing = not_taken(self._transport)
            taken = self._written - missing
            if not missing or taken > self._taken:
                self._taken, self._taken_at = taken, now
            elif now - self._taken_at >= STALLED_SECONDS:
                # The reader has taken nothing of what waits or, if it was idle, not acknowledged the last ping.
                self.close(Close.TOO_SLOW)
        if is_due:
            self._pinged_at = now
            if not is_waiting:
                self._write(PING)

    async def _say_goodbye(self, reason: Close) -> None:
        """Close the socket, and give a slow reader some time to read up to the close code."""
        self._scope = asyncio.timeout(LINGER_SECONDS if reason is Close.TOO_SLOW else CLOSE_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with self._scope:
                await say_goodbye(self._ws, self._transport, reason, LINGER_SECONDS)
                while self._transport.get_write_buffer_size():  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)
        if self._transport.get_write_buffer_size():
            self._transport.abort()


def as_frames(events: Iterable[dict[str, Any]]) -> bytes:
    """Encode events as WebSocket text frames (RFC 6455, 5.2). A server does not mask them: all readers get the same bytes."""
    return b"".join(frame(orjson.dumps(event, option=orjson.OPT_UTC_Z)) for event in events)


def frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
