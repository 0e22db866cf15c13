"""Many live sockets in a process of their own, so that reading them is not counted as the server's work.

Commands are lines of JSON on standard input, each answered by a line on standard output:
`{"host", "port", "tokens", "each"}` opens the sockets (once, first) and says how many are open;
`{"events": N, "seconds": S}` waits until so many events have come, and tells them: `[[feedback id, nanoseconds], ...]`.
The process ends with its input.
"""

import asyncio
import base64
import json
import os
import sys
import time
from itertools import count
from typing import Any, Final

import uvloop

AT_ONCE: Final = 100
"""Handshakes under way: a listening socket's queue is finite."""
OPEN_SECONDS: Final = 60
POLL_SECONDS: Final = 0.01
COMMAND_BYTES: Final = 1 << 24
SOURCES: Final = 4
"""Addresses of our own: each has some 28,000 ports, which loads just before may have left few of."""
TEXT: Final = 0x1
CLOSE: Final = 0x8
PING: Final = 0x9
MASKED_PONG: Final = b"\x8a\x80\0\0\0\0"
"""A client masks what it sends (RFC 6455, 5.3), be it nothing, with zeros."""


class Watcher:
    """What all sockets have been told, and when."""

    def __init__(self) -> None:
        self.events: list[tuple[int, bytes]] = []
        self.closed = 0
        self.readers: list[Reader] = []

    async def open(self, host: str, port: int, tokens: list[str], each: int) -> int:
        numbers, slots, loop = count(), asyncio.Semaphore(AT_ONCE), asyncio.get_running_loop()

        async def connect(token: str) -> None:
            async with slots:
                source = f"127.0.0.{1 + next(numbers) % SOURCES}", 0
                reader = Reader(self, handshake(token))
                self.readers.append(reader)
                await loop.create_connection(lambda: reader, host, port, local_addr=source)
                await reader.greeted

        async with asyncio.timeout(OPEN_SECONDS), asyncio.TaskGroup() as group:
            for token in tokens:
                for _ in range(each):
                    group.create_task(connect(token))
        return len(self.readers)

    async def take(self, expected: int, seconds: float) -> list[tuple[str, int]]:
        """Wait for so many events, and hand out all that have come."""
        end = time.monotonic() + seconds
        # Asked for now and then, and not told by the readers: they are what is being measured.
        while len(self.events) < expected and time.monotonic() < end:
            await asyncio.sleep(POLL_SECONDS)
        taken, self.events = self.events, []
        return [(json.loads(payload)["feedback"]["id"], moment) for moment, payload in taken]


class Reader(asyncio.Protocol):
    """One socket: notes the moment of every event, and answers pings."""

    def __init__(self, watcher: Watcher, request: bytes) -> None:
        self._watcher = watcher
        self._request = request
        self._transport: Any = None
        self._rest = b""
        self._is_upgraded = False
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if self._rest:
            data = self._rest + data
        if not self._is_upgraded:
            head, separator, rest = data.partition(b"\r\n\r\n")
            if not separator:
                self._rest = data
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self._fail(f"was answered {head[:100]!r} {rest[:200]!r}")
                return
            self._is_upgraded, data = True, rest
        self._rest = self._read_frames(data, now)

    def _read_frames(self, data: bytes, now: int) -> bytes:
        """Take in what is whole and return the rest. A server's frames are not masked, and its events are one frame each."""
        while len(data) >= 2:
            start, size = 2, data[1]
            if size == 126:
                start, size = 4, int.from_bytes(data[2:4], "big")
            elif size == 127:
                start, size = 10, int.from_bytes(data[2:10], "big")
            if len(data) < start + size:
                break
            self._take(data[0] & 0xF, data[start : start + size], now)
            data = data[start + size :]
        return data

    def _take(self, opcode: int, payload: bytes, now: int) -> None:
        if opcode == TEXT and self.greeted.done():
            self._watcher.events.append((now, payload))
        elif opcode == TEXT:
            self.greeted.set_result(None)
        elif opcode == PING:
            self._transport.write(MASKED_PONG)
        elif opcode == CLOSE:
            self._fail(f"was closed with {int.from_bytes(payload[:2], 'big')}")

    def connection_lost(self, error: Exception | None) -> None:
        self._watcher.closed += 1
        self._fail(f"was lost: {error}")

    def _fail(self, what: str) -> None:
        if not self.greeted.done():
            self.greeted.set_exception(ConnectionError(f"a live socket {what}"))


def handshake(token: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        "GET /api/feedback/live HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        f"Authorization: Bearer {token}",
    )
    return "\r\n".join((*lines, "", "")).encode()


async def main() -> None:
    commands = asyncio.StreamReader(limit=COMMAND_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    watcher = Watcher()
    while line := await commands.readline():
        command = json.loads(line)
        if "tokens" in command:
            told: Any = {"open": await watcher.open(**command)}
        else:
            events = await watcher.take(command["events"], command["seconds"])
            told = {"events": events, "closed": watcher.closed}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
