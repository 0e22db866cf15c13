"""A light HTTP client: a keep-alive connection with one request at a time, told to the nanosecond when it was answered."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.bench.servers import Server

ANSWER_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, of whichever candidate."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    token: str = ""

    @property
    def headers(self) -> dict[str, str]:
        found = {"Host": "localhost"}
        if self.body is not None:
            found["Content-Type"] = "application/json"
        if self.token:
            found["Authorization"] = f"Bearer {self.token}"
        return found

    @property
    def payload(self) -> bytes:
        return b"" if self.body is None else json.dumps(self.body).encode()

    def encode(self) -> bytes:
        headers = self.headers | ({"Content-Length": str(len(self.payload))} if self.payload else {})
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode() + self.payload


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    sent: int
    """Nanoseconds on the machine's monotonic clock, which all processes share."""
    received: int

    def json(self, status: int) -> Any:
        """Return what an answer says that has to have this status."""
        if self.status != status:
            raise RuntimeError(f"answered {self.status}, not {status}: {self.body[:300]!r}")
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """One request after the other, over one connection."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._buffer = b""
        self._sent = 0
        self._answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received = time.monotonic_ns()
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or self._answer is None:
            return
        headers = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
        if len(body) >= int(headers[b"content-length"]):
            self._buffer = b""
            if not self._answer.done():
                self._answer.set_result(Answer(int(head[9:12]), body, self._sent, received))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("the server closed the connection"))

    async def ask(self, request: bytes) -> Answer:
        self._answer = asyncio.get_running_loop().create_future()
        self._sent = time.monotonic_ns()
        self._transport.write(request)
        async with asyncio.timeout(ANSWER_SECONDS):
            return await self._answer

    def close(self) -> None:
        if self._transport:
            self._transport.close()


@asynccontextmanager
async def connections(server: Server, count: int) -> AsyncIterator[list[Connection]]:
    """Keep so many connections open."""
    opened: list[Connection] = []
    try:
        for _ in range(count):
            _, connection = await asyncio.get_running_loop().create_connection(Connection, server.host, server.port)
            opened.append(connection)
        yield opened
    finally:
        for connection in opened:
            connection.close()


async def ask(server: Server, request: Request, status: int) -> Any:
    """Ask once. Raises `RuntimeError` where the answer has another status."""
    async with connections(server, 1) as (connection,):
        return (await connection.ask(request.encode())).json(status)
