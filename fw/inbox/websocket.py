"""The server's end of a WebSocket (RFC 6455) whose client has little to say.

It takes the place of aiohttp's handler once the handshake is done, and has neither a task nor a timer while nothing happens: an
idle socket takes two kilobytes; it took twenty with aiohttp's.
"""

import asyncio
import base64
import hashlib
from enum import IntEnum
from typing import Final, cast

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from fw.inbox.frames import MESSAGE_BYTES, Frame, FrameError, frame, take_frame
from fw.web.handover import hand_over

CLOSE_SECONDS: Final = 3.0
"""How long a client has to answer a close, and to take what was written before it."""
FRAMES_A_SECOND: Final = 20
"""How many frames a client may send: a message, pings and pongs, a close. An empty one takes as long as a long one."""
RECEIVED_BYTES: Final = 32 * 1024
RECEIVED_BYTES_A_SECOND: Final = 4 * 1024
"""How much a client may send."""
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What makes an accept of a key (RFC 6455, 1.3)."""


class Close(IntEnum):
    """Why the server closes a socket, beside what the protocol itself has codes for."""

    FAILED = 1011
    RESTART = 1012
    FORBIDDEN_MESSAGE = 4400
    UNAUTHORIZED = 4401
    TOO_SLOW = 4408
    TOO_MANY = 4429


class WebSocket(asyncio.Protocol):
    """A WebSocket after its handshake.

    The server closes it as RFC 6455 (7.1.1) wants it, by a close that the client answers; if the client does not, or does not
    take what was written before it, the connection is cut a while later.
    """

    __slots__ = (
        "_begun_at",
        "_first",
        "_frames",
        "_frames_from",
        "_is_broken",
        "_message",
        "_received",
        "_timer",
        "_unparsed",
        "_writable",
        "code",
        "transport",
        "written",
    )

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.code: int | None = None
        """The code by which the server closes the socket, once it does."""
        self.written = 0
        self._received = self._frames = 0
        self._begun_at = self._frames_from = asyncio.get_running_loop().time()
        self._unparsed = b""
        # What has come of a message in fragments.
        self._message: bytes | None = None
        self._is_broken = False
        self._first: asyncio.Future[bytes | None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be sent to the client."""
        return self.code is not None or self.transport.is_closing()

    def first_message(self) -> "asyncio.Future[bytes | None]":
        """Allow the client one message of text. Returns what waits for it; it is None if the socket ends before."""
        self._first = asyncio.get_running_loop().create_future()
        return self._first

    def write(self, frames: bytes) -> None:
        if not self.is_over:
            self._write(frames)

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written. Raises `ConnectionError` if the socket has ended."""
        while self._writable is not None and not self.is_over:
            await self._writable
        if self.is_over:
            raise ConnectionResetError

    def close(self, code: int, seconds: float = CLOSE_SECONDS) -> None:
        """Tell the client why, and give it so many seconds to read up to there. The first reason counts."""
        if self.is_over:
            return
        self._write(frame(code.to_bytes(2, "big"), WSMsgType.CLOSE))
        self.code = code
        self._wake()
        self._end_within(seconds)

    def hurry(self, code: int) -> None:
        """Close the socket; if it is already ending, it gets `CLOSE_SECONDS` at most."""
        self.close(code)
        self._end_within(CLOSE_SECONDS)

    def abort(self) -> None:
        """Cut the connection."""
        self.transport.abort()

    def left(self) -> None:
        """Called once the connection is gone."""

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        self._received += len(data)
        if self._received > RECEIVED_BYTES + RECEIVED_BYTES_A_SECOND * (now - self._begun_at):
            self.transport.abort()
        elif not self._is_broken:
            try:
                self._parse(self._unparsed + data, now)
            except FrameError as error:
                # Nobody knows where the next frame begins.
                self._is_broken, self._unparsed = True, b""
                self.close(error.code)

    def eof_received(self) -> None:
        """The client sends nothing more: as good as a close. It may have stopped reading too, so its time is bounded."""
        self._hang_up()

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        self._wake()
        self._writable = None

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wake()
        self.left()

    def _parse(self, data: bytes, now: float) -> None:
        start = 0
        while not self.transport.is_closing() and (found := take_frame(data, start)) is not None:
            taken, start = found
            self._take(taken, now)
        self._unparsed = data[start:]

    def _take(self, taken: Frame, now: float) -> None:
        """Do what a frame asks for. Raises `FrameError`."""
        if now - self._frames_from > 1:
            self._frames, self._frames_from = 0, now
        self._frames += 1
        if self._frames > FRAMES_A_SECOND:
            # There is no closing handshake with a client that floods.
            self.code = self.code or Close.FORBIDDEN_MESSAGE
            self._hang_up()
        elif taken.opcode == WSMsgType.CLOSE:
            if self.code is None:
                self._write(frame(WSCloseCode.OK.to_bytes(2, "big"), WSMsgType.CLOSE))
            self._hang_up()
        elif taken.opcode == WSMsgType.PING:
            self.write(frame(taken.payload, WSMsgType.PONG))
        elif taken.opcode != WSMsgType.PONG:
            self._take_data(taken)

    def _take_data(self, taken: Frame) -> None:
        is_first = self._message is None
        if is_first == (taken.opcode == WSMsgType.CONTINUATION):
            raise FrameError(WSCloseCode.PROTOCOL_ERROR)
        message = (self._message or b"") + taken.payload
        if len(message) > MESSAGE_BYTES:
            raise FrameError(WSCloseCode.MESSAGE_TOO_BIG)
        self._message = None if taken.is_final else message
        if taken.opcode == WSMsgType.BINARY or self._first is None or self._first.done():
            self.close(Close.FORBIDDEN_MESSAGE)
        elif taken.is_final:
            if not is_text(message):
                raise FrameError(WSCloseCode.INVALID_TEXT)
            self._first.set_result(message)

    def _write(self, frames: bytes) -> None:
        self.written += len(frames)
        self.transport.write(frames)

    def _hang_up(self) -> None:
        """Close the connection once the client has taken what was written, or a while later."""
        self.transport.close()
        self._wake()
        self._end_within(CLOSE_SECONDS)

    def _end_within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        if self._timer is None or self._timer.when() > end:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(end, self._give_up)

    def _give_up(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _wake(self) -> None:
        """Have those go on who wait for something of this socket."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        if self.is_over and self._first is not None and not self._first.done():
            self._first.set_result(None)


def is_text(message: bytes) -> bool:
    try:
        message.decode()
    except UnicodeDecodeError:
        return False
    return True


async def upgrade(request: web.Request, protocol: str | None, socket: WebSocket) -> web.StreamResponse:
    """Answer a client's handshake, which was found to be a good one, and give its connection to a socket.

    Returns the response for the log. Raises `ConnectionError` if the client has left.
    """
    response = web.StreamResponse(status=101)
    response.force_close()
    accept = hashlib.sha1(request.headers[hdrs.SEC_WEBSOCKET_KEY].encode() + GUID, usedforsecurity=False).digest()
    response.headers[hdrs.UPGRADE] = "websocket"
    response.headers[hdrs.CONNECTION] = "upgrade"
    response.headers[hdrs.SEC_WEBSOCKET_ACCEPT] = base64.b64encode(accept).decode()
    if protocol is not None:
        response.headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = protocol
    await response.prepare(request)
    hand_over(request.protocol, socket)
    return response
