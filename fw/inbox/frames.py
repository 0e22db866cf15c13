"""WebSocket frames (RFC 6455, 5.2): those of a server, which are not masked, and those of a client, which are."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import orjson
from aiohttp import WSCloseCode, WSMsgType

MESSAGE_BYTES: Final = 4096
"""The longest message that a client may send."""
CONTROL_BYTES: Final = 125
IS_FINAL: Final = 0x80
IS_MASKED: Final = 0x80
RESERVED: Final = 0x70
IS_CONTROL: Final = 0x08
MASK_BYTES: Final = 4


KINDS: Final = frozenset(
    {WSMsgType.CONTINUATION, WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CLOSE, WSMsgType.PING, WSMsgType.PONG}
)
"""The opcodes that there are (RFC 6455, 5.2). aiohttp's enumeration has some for its own use too."""


class Frame(NamedTuple):
    opcode: int
    is_final: bool
    payload: bytes


class FrameError(Exception):
    """The client breaks the protocol."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
        """The code that the connection is closed with."""


def frame(payload: bytes, opcode: WSMsgType = WSMsgType.TEXT) -> bytes:
    """Return a whole message as a frame."""
    size, first = len(payload), (IS_FINAL | opcode).to_bytes(1, "big")
    if size <= CONTROL_BYTES:
        return first + size.to_bytes(1, "big") + payload
    if size < 65536:
        return first + b"\x7e" + size.to_bytes(2, "big") + payload
    return first + b"\x7f" + size.to_bytes(8, "big") + payload


def as_frames(events: Iterable[dict[str, Any]]) -> bytes:
    """Encode events as text frames. A server does not mask them: all readers get the same bytes."""
    return b"".join(frame(orjson.dumps(event, option=orjson.OPT_UTC_Z)) for event in events)


def take_frame(data: bytes, start: int) -> tuple[Frame, int] | None:
    """Return the client's frame that begins at `start`, and where the next one begins; None if it is not whole yet.

    Raises `FrameError`.
    """
    at = start + 2
    if len(data) < at:
        return None
    first, second = data[start], data[start + 1]
    opcode, size = first & 0x0F, second & 0x7F
    if first & RESERVED or opcode not in KINDS or not second & IS_MASKED:
        raise FrameError(WSCloseCode.PROTOCOL_ERROR)
    if opcode & IS_CONTROL and (size > CONTROL_BYTES or not first & IS_FINAL):
        raise FrameError(WSCloseCode.PROTOCOL_ERROR)
    if size > CONTROL_BYTES:
        length = 2 if size == 126 else 8
        if len(data) < at + length:
            return None
        size = int.from_bytes(data[at : at + length], "big")
        at += length
    if size > MESSAGE_BYTES:
        raise FrameError(WSCloseCode.MESSAGE_TOO_BIG)
    begin = at + MASK_BYTES
    end = begin + size
    if len(data) < end:
        return None
    return Frame(opcode, bool(first & IS_FINAL), unmasked(data[begin:end], data[at:begin])), end


def unmasked(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    repeated = (mask * (size // MASK_BYTES + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
