"""One live socket: frames out, and the ways in which it ends."""

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable
from enum import IntEnum
from typing import Any, Final

import orjson
from aiohttp import WSMsgType, web

from fw.inbox.feed import Reading

BUFFER_BYTES: Final = 256 * 1024
"""What may wait for a reader in memory; who is further behind is cut off, to come back with a cursor."""
CLOSE_SECONDS: Final = 3.0
LINGER_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.1
REPLAY_SECONDS: Final = 15.0
"""How long one event of a replay may wait for the reader to take it."""


class Close(IntEnum):
    """Why the server closes a socket."""

    RESTART = 1012
    FORBIDDEN_MESSAGE = 4400
    UNAUTHORIZED = 4401
    TOO_SLOW = 4408
    TOO_MANY = 4429


class Socket:
    """A reader of an inbox. It is written to without waiting; its transport's buffer is its queue, and bounded."""

    __slots__ = ("_reason", "_scope", "_transport", "_ws", "cursor", "is_live", "session_id", "user_id")

    def __init__(self, ws: web.WebSocketResponse, transport: Any, user_id: str, session_id: str) -> None:
        self._ws = ws
        self._transport = transport
        self._scope: asyncio.Timeout | None = None
        self._reason: Close | None = None
        self.user_id = user_id
        self.session_id = session_id
        self.cursor = 0
        self.is_live = False

    async def run(self, catch_up: Awaitable[Close | None], seconds: float) -> Close | None:
        """Have the reader catch up and stay until it leaves, `close` is called or the session is over, in so many seconds;
        then tell it why, and wait until it is gone. Catching up returns why that cannot be, where it cannot; so does this."""
        self._scope = asyncio.timeout(seconds)
        try:
            async with self._scope:
                reason = await catch_up
                # It would stay in memory as long as the socket.
                del catch_up
                # There is nothing that a reader may say: what comes is its end, or not allowed.
                if not reason and (await self._ws.receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    reason = Close.FORBIDDEN_MESSAGE
        except TimeoutError:
            # `close` has ended it, or the session's time, or the reader did not take what it was sent.
            reason = self._reason or (Close.UNAUTHORIZED if self._scope.expired() else Close.TOO_SLOW)
        self._scope = None
        if reason:
            self._reason = reason
            await self._say_goodbye(reason)
        return reason

    def close(self, reason: Close) -> None:
        """Have the conversation end; the first reason counts."""
        if self._reason is None and self._scope is not None:
            self._reason = reason
            self._scope.reschedule(asyncio.get_running_loop().time())

    async def send(self, event: dict[str, Any]) -> None:
        """Send one event, and wait until the reader keeps up. Raises `TimeoutError` where it does not."""
        async with asyncio.timeout(REPLAY_SECONDS):
            await self._ws.send_frame(encode(event), WSMsgType.TEXT)

    def deliver(self, reading: Reading, frames: bytes) -> None:
        """Write what is new to this reader: `frames`, where it stands where the reading began. Cuts off who is too slow."""
        if self._reason:
            return
        if self.cursor != reading.since and not reading.is_lost:
            frames = as_frames(reading.events(self.cursor))
        self.cursor = reading.cursor if reading.is_lost else max(self.cursor, reading.cursor)
        self._transport.write(frames)
        if self._transport.get_write_buffer_size() > BUFFER_BYTES:
            self.close(Close.TOO_SLOW)

    async def _say_goodbye(self, reason: Close) -> None:
        """Close the socket as RFC 6455 (7.1.1) wants it: the server waits for the reader's own close, for a while."""
        end = asyncio.get_running_loop().time() + (LINGER_SECONDS if reason is Close.TOO_SLOW else CLOSE_SECONDS)
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout_at(end):
                await self._ws.close(code=reason, drain=False)
                # Who is slow is given some time to read up to the reason.
                while self._transport.get_write_buffer_size():  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)
        if self._transport.get_write_buffer_size():
            self._transport.abort()


def as_frames(events: Iterable[dict[str, Any]]) -> bytes:
    """Encode events as WebSocket text frames (RFC 6455, 5.2): a server's are not masked, so all readers get the same bytes."""
    return b"".join(frame(encode(event)) for event in events)


def frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def encode(event: dict[str, Any]) -> bytes:
    return orjson.dumps(event, option=orjson.OPT_UTC_Z)
