"""What a live socket makes of the bytes that a client sends it (RFC 6455)."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType
from aiohttp.test_utils import TestClient

from fw.inbox import websocket
from fw.inbox.frames import FrameError, frame, take_frame
from fw.inbox.hub import HUB, Hub
from tests.support.people import Person
from tests.support.waiting import until

MASK = b"\x01\x02\x03\x04"
HANDSHAKE = (
    "GET /api/feedback/live HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)


def masked(payload: bytes, opcode: int = WSMsgType.TEXT, *, is_final: bool = True) -> bytes:
    """Return a client's frame, as a browser makes it."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    hidden = bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))
    return bytes([(0x80 if is_final else 0) | opcode]) + length + MASK + hidden


class Raw:
    """A client that sends bytes of its own choice."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def next(self) -> tuple[int, bytes]:
        """Return the next frame's opcode and payload."""
        first, size = await asyncio.wait_for(self.reader.readexactly(2), 10)
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        return first & 15, await asyncio.wait_for(self.reader.readexactly(size), 10)

    async def event(self) -> Any:
        opcode, payload = await self.next()
        assert opcode == WSMsgType.TEXT
        return json.loads(payload)

    async def close_code(self) -> int:
        """Wait for the server's close, then for the end of the connection; return the code."""
        while (found := await self.next())[0] != WSMsgType.CLOSE:
            pass
        self.writer.write(masked(found[1], WSMsgType.CLOSE))
        assert await asyncio.wait_for(self.reader.read(), 10) == b""
        return int.from_bytes(found[1], "big")


@asynccontextmanager
async def opened(client: TestClient, *, token: str = "", tail: bytes = b"") -> AsyncIterator[Raw]:
    """Open a live socket by hand; `tail` is sent together with the handshake."""
    url = client.make_url("/")
    reader, writer = await asyncio.open_connection(url.host, url.port)
    more = f"Authorization: Bearer {token}\r\n" if token else ""
    writer.write(HANDSHAKE.format(host=f"{url.host}:{url.port}", more=more).encode() + tail)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nServer: FeedbackWave\r\n" in head
    # The example of RFC 6455, 1.3.
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    yield Raw(reader, writer)
    writer.close()


def greeting(user: Person) -> bytes:
    return json.dumps({"type": "auth", "token": user.token}).encode()


async def test_a_first_message_may_come_together_with_the_handshake(user: Person) -> None:
    async with opened(user.client, tail=masked(greeting(user))) as raw:
        assert (await raw.event())["event"] == "hello"


async def test_a_first_message_may_come_in_fragments_with_a_ping_between_them(user: Person) -> None:
    message = greeting(user)
    frames = (
        masked(message[:10], is_final=False),
        masked(b"there?", WSMsgType.PING),
        masked(message[10:99], WSMsgType.CONTINUATION, is_final=False),
        masked(message[99:], WSMsgType.CONTINUATION),
    )
    async with opened(user.client) as raw:
        # Byte by byte: no frame may depend on how it is cut into segments.
        for byte in b"".join(frames):
            raw.writer.write(bytes([byte]))
            await raw.writer.drain()
            await asyncio.sleep(0)
        assert await raw.next() == (WSMsgType.PONG, b"there?")
        assert (await raw.event())["event"] == "hello"
        await user.receive()
        assert (await raw.event())["event"] == "created"


async def test_a_close_is_answered_and_ends_the_connection(user: Person) -> None:
    async with opened(user.client, token=user.token) as raw:
        assert (await raw.event())["event"] == "hello"
        raw.writer.write(masked((1001).to_bytes(2, "big") + b"bye", WSMsgType.CLOSE) + masked(b"more"))
        assert await raw.next() == (WSMsgType.CLOSE, (1000).to_bytes(2, "big"))
        assert await asyncio.wait_for(raw.reader.read(), 10) == b""


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x81\x02{}", 1002),
        (b"\xc1\x80" + MASK, 1002),
        (b"\x83\x80" + MASK, 1002),
        (masked(b"", WSMsgType.PING, is_final=False), 1002),
        (b"\x89\xfe\x00\x7e" + MASK, 1002),
        (masked(b"x", WSMsgType.CONTINUATION), 1002),
        (masked(b"x", is_final=False) + masked(b"x"), 1002),
        (b"\x81\xfe\x10\x01", 1009),
        (b"\x81\xff" + b"\xff" * 8, 1009),
        (masked(b"x" * 4000, is_final=False) + masked(b"x" * 97, WSMsgType.CONTINUATION), 1009),
        (masked(b"\xff\xfe"), 1007),
        (masked(b"{}", WSMsgType.BINARY), 4400),
        (masked(b"{}"), 4400),
    ],
    ids=[
        "unmasked",
        "reserved",
        "opcode",
        "ping-fragment",
        "ping-size",
        "continues-nothing",
        "interleaved",
        "size",
        "huge",
        "fragments",
        "no-text",
        "binary",
        "no-token",
    ],
)
async def test_tells_what_was_wrong(client: TestClient, sent: bytes, code: int) -> None:
    async with opened(client) as raw:
        raw.writer.write(sent)
        assert await raw.close_code() == code


@pytest.mark.parametrize("token", ["bad", ""])
@pytest.mark.parametrize("opcode", [WSMsgType.TEXT, WSMsgType.PONG, WSMsgType.CONTINUATION])
async def test_looks_at_few_frames_of_a_flood(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, token: str, opcode: WSMsgType
) -> None:
    looked_at = 0

    def count(data: bytes, start: int) -> Any:
        nonlocal looked_at
        looked_at += 1
        return take_frame(data, start)

    monkeypatch.setattr(websocket, "take_frame", count)
    flood = masked(b"", is_final=False) + masked(b"", opcode, is_final=opcode != WSMsgType.CONTINUATION) * 5000
    async with opened(client, token=token, tail=flood) as raw:
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(raw.reader.read(), 10)
    assert 1 < looked_at <= websocket.FRAMES_A_SECOND + 1


async def test_a_reader_that_half_closes_and_takes_nothing_is_cut(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_SECONDS", 0.2)
    for _ in range(10):
        await asyncio.gather(*(user.receive("€" * 5000, metadata={"x": "y" * 3900}) for _ in range(50)))
    hub: Hub = user.client.app[HUB]  # type: ignore[index]
    url = user.client.make_url("/api/feedback/live")
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stalled, (url.host, url.port))
        asked = HANDSHAKE.format(host=url.host, more=f"Authorization: Bearer {user.token}\r\n").replace(
            " HTTP", "?since=0 HTTP"
        )
        await loop.sock_sendall(stalled, asked.encode())

        async def waits() -> bool:
            return any(found.transport.get_write_buffer_size() for found in hub._open)

        await until(waits)
        stalled.shutdown(socket.SHUT_WR)

        async def is_gone() -> bool:
            return user.id not in hub._rooms and not hub._open

        await until(is_gone)


async def test_nothing_counts_after_a_broken_frame(user: Person) -> None:
    async with opened(user.client) as raw:
        raw.writer.write(b"\x81\x02{}" + masked(greeting(user)) * 3)
        assert await raw.close_code() == 1002


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 127, 4096])
def test_takes_apart_what_a_client_makes(size: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    data = b"before" + masked(payload) + b"after"
    for end in range(6, len(data) - 5):
        assert take_frame(data[:end], 6) is None
    assert take_frame(data, 6) == ((WSMsgType.TEXT, True, payload), len(data) - 5)


def test_an_error_says_with_which_code_to_close() -> None:
    with pytest.raises(FrameError) as raised:
        take_frame(b"\x81\x00", 0)
    assert raised.value.code == 1002


@pytest.mark.parametrize(
    ("size", "head"),
    [(0, b"\x81\x00"), (125, b"\x81\x7d"), (126, b"\x81\x7e\x00\x7e"), (65536, b"\x81\x7f" + (65536).to_bytes(8, "big"))],
)
def test_writes_the_shortest_length(size: int, head: bytes) -> None:
    assert frame(bytes(size)) == head + bytes(size)
