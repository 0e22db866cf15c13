"""Readers that leave without a word, or take nothing of what they are sent, before a real server process."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from fw.inbox import websocket
from tests.support.people import PASSWORD
from tests.support.processes import Process, fw
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: the connection is closed by a reset."""


class Owner:
    """Somebody with an inbox at a server process."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url, self.name = http, url, f"u{uuid4().hex[:12]}"
        self.headers: dict[str, str] = {}
        self.opened: list[socket.socket] = []

    async def register(self) -> None:
        asked = {"email": f"{self.name}@example.com", "username": self.name, "password": PASSWORD}
        answer = await self.call("POST", "/api/auth/register", asked)
        self.headers = {"Authorization": f"Bearer {answer['access_token']}"}

    async def call(self, method: str, path: str, asked: Any = None) -> Any:
        async with self.http.request(method, self.url + path, json=asked, headers=self.headers) as response:
            assert response.status < 300, await response.text()
            return await response.json()

    async def receive(self, message: str, **more: Any) -> str:
        return str((await self.call("POST", f"/api/feedback/{self.name}", {"message": message, **more}))["id"])

    async def open(self, path: str, *head: str, buffer: int = 0) -> socket.socket:
        """Send a request over a socket of our own, whose receive buffer may be small, and read nothing."""
        host, port = self.url.removeprefix("http://").split(":")
        opened = socket.socket()
        self.opened.append(opened)
        if buffer:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        opened.setblocking(False)
        await asyncio.get_running_loop().sock_connect(opened, (host, int(port)))
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", f"Authorization: {self.headers['Authorization']}", *head]
        await asyncio.get_running_loop().sock_sendall(opened, ("\r\n".join(lines) + "\r\n\r\n").encode())
        return opened

    async def open_live(self, since: int | None = None, *, buffer: int = 0) -> socket.socket:
        return await self.open(
            "/api/feedback/live" + ("" if since is None else f"?since={since}"),
            *("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"),
            f"Sec-WebSocket-Key: {'A' * 22}==",
            buffer=buffer,
        )


@asynccontextmanager
async def owner_at(folder: Path, url: str) -> AsyncIterator[tuple[Owner, Process]]:
    settings = {"DATABASE_URL": url, "FW_JWT_SECRET": "s" * 32, "FW_RATE_LIMITS": "off", "FW_LOG_LEVEL": "WARNING"}
    async with fw("serve", folder=folder, **settings) as process, aiohttp.ClientSession() as http:
        owner = Owner(http, await process.url())
        await owner.register()
        try:
            yield owner, process
        finally:
            for opened in owner.opened:
                opened.close()


async def metric(owner: Owner, name: str) -> float:
    async with owner.http.get(f"{owner.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def test_readers_that_reset_their_connections_leave_the_live_channel_to_the_others(
    tmp_path: Path, database_url: str
) -> None:
    async with owner_at(tmp_path, database_url) as (owner, process):
        feedback_id = await owner.receive("Hello")

        async def toggle() -> None:
            for number in count():
                await owner.call("PATCH", f"/api/feedback/{feedback_id}/read", {"is_read": bool(number % 2)})

        toggling = [asyncio.create_task(toggle()) for _ in range(4)]
        for _ in range(30):
            sockets = [await owner.open_live() for _ in range(18)]

            async def all_live() -> bool:
                return await metric(owner, "fw_live_sockets") >= 18

            await until(all_live)
            for opened in sockets:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                opened.close()

            async def all_gone() -> bool:
                return await metric(owner, "fw_live_sockets") == 0

            await until(all_gone)
        for task in toggling:
            task.cancel()
        await asyncio.gather(*toggling, return_exceptions=True)
        async with owner.http.ws_connect(f"{owner.url}/api/feedback/live", headers=owner.headers) as ws:
            assert (await ws.receive_json(timeout=10))["event"] == "hello"
            await owner.receive("still there")
            event = await ws.receive_json(timeout=10)
            while event["event"] != "created":
                event = await ws.receive_json(timeout=10)
            assert event["feedback"]["message"] == "still there"
        assert await metric(owner, "fw_background_failures_total") == 0
        assert "Traceback" not in process.output


async def fill(owner: Owner, count: int) -> None:
    """Fill the inbox with the largest items that there may be."""
    for _ in range(count // 20):
        await asyncio.gather(*(owner.receive("€" * 5000, metadata={"x": "y" * 3900}) for _ in range(20)))


async def peak_growth(process: Process, seconds: float) -> int:
    """Return by how many bytes a process grows at most, for a while."""
    memory = psutil.Process(process.process.pid).memory_info
    before, most = memory().rss, 0
    for _ in range(int(seconds / 0.1)):
        most = max(most, memory().rss - before)
        await asyncio.sleep(0.1)
    return most


@pytest.mark.parametrize(
    "path",
    ["", "/api/feedback/changes?since=0", "/api/feedback?limit=100", "/api/docs/swagger-ui-bundle.js"],
    ids=["live", "changes", "list", "file"],
)
async def test_readers_that_take_nothing_hold_little_memory(tmp_path: Path, database_url: str, path: str) -> None:
    async with owner_at(tmp_path, database_url) as (owner, process):
        await fill(owner, 600)
        for _ in range(60):
            await (owner.open(path, buffer=4096) if path else owner.open_live(0, buffer=4096))
        # 600 items are 11 MB; sixty readers that each held as much were 690.
        assert await peak_growth(process, 4) < 100_000_000
        assert (await owner.call("GET", "/health"))["status"] == "ok"


async def test_a_client_that_takes_no_answers_gets_no_more_of_them(tmp_path: Path, database_url: str) -> None:
    async with owner_at(tmp_path, database_url) as (owner, process):
        opened = await owner.open("/api/openapi.json", buffer=4096)
        request = f"GET /api/openapi.json HTTP/1.1\r\nHost: {owner.url.removeprefix('http://')}\r\n\r\n".encode()
        sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(opened, request * 5000))
        assert await peak_growth(process, 3) < 50_000_000
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


@pytest.mark.parametrize(
    "path", ["", "/api/feedback?limit=100", "/api/docs/swagger-ui-bundle.js"], ids=["live", "list", "file"]
)
async def test_a_client_that_takes_nothing_does_not_hold_up_the_end(tmp_path: Path, database_url: str, path: str) -> None:
    async with owner_at(tmp_path, database_url) as (owner, process):
        await fill(owner, 200)
        for _ in range(5):
            await (owner.open(path, buffer=4096) if path else owner.open_live(0, buffer=4096))
        # Fifteen seconds are promised.
        assert await asyncio.wait_for(process.stop(), 15) == 0, process.output


@pytest.mark.parametrize(
    ("first", "frame"),
    # Masked, as a client's are, and empty: pings, and the fragments of a message that never ends.
    [(b"", b"\x89\x80\x00\x00\x00\x00"), (b"\x01\x80\x00\x00\x00\x00", b"\x00\x80\x00\x00\x00\x00")],
    ids=["pings", "fragments"],
)
async def test_a_flood_of_frames_stops_nobody_else(tmp_path: Path, database_url: str, first: bytes, frame: bytes) -> None:
    async with owner_at(tmp_path, database_url) as (owner, _):
        opened = await owner.open_live()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(opened, first)

        async def flood() -> None:
            while True:
                await loop.sock_sendall(opened, frame * 10_000)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(), 20)
        assert (await owner.call("GET", "/api/auth/me"))["username"] == owner.name


async def test_a_socket_that_ends_while_its_client_takes_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_SECONDS", 0.2)
    left = asyncio.Event()

    class Follower(websocket.WebSocket):
        def left(self) -> None:
            left.set()

    async def follow(request: web.Request) -> web.StreamResponse:
        follower = Follower()
        response = await websocket.upgrade(request, None, follower)
        # More than any kernel takes.
        follower.write(bytes(50_000_000))
        follower.hurry(1012)
        return response

    app = web.Application()
    app.router.add_get("/", follow)
    async with TestServer(app) as server:
        owner = Owner(aiohttp.ClientSession(), str(server.make_url("")).rstrip("/"))
        owner.headers = {"Authorization": "none"}
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}==")
        opened = await owner.open("/", *upgrade, buffer=4096)
        assert await asyncio.get_running_loop().sock_recv(opened, 12) == b"HTTP/1.1 101"
        await asyncio.wait_for(left.wait(), 10)
        opened.close()
        await owner.http.close()


async def test_a_client_that_does_not_answer_the_close_is_told_once(tmp_path: Path, database_url: str) -> None:
    async with owner_at(tmp_path, database_url) as (owner, _):
        opened = await owner.open_live()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(opened, b"\x81\x80\x00\x00\x00\x00")
        received = b""
        while part := await asyncio.wait_for(loop.sock_recv(opened, 65536), 20):
            received += part
        told = b"\x88\x02" + (4400).to_bytes(2, "big")
        assert received.endswith(told)
        assert received.count(told) == 1


async def test_a_socket_is_opened_with_a_long_head(tmp_path: Path, database_url: str) -> None:
    """Only connections that wait for a next request are not kept after it."""
    async with owner_at(tmp_path, database_url) as (owner, _):
        headers = {**owner.headers, "Cookie": f"theirs={'a' * 8000}", "X-Long": "a" * 4000}
        async with owner.http.ws_connect(f"{owner.url}/api/feedback/live", headers=headers) as ws:
            assert (await ws.receive_json(timeout=20))["event"] == "hello"
            await ws.ping()
            await owner.receive("Still there")
            assert (await ws.receive_json(timeout=20))["event"] == "created"


async def test_a_token_is_not_logged_with_subprotocols_that_do_not_fit(tmp_path: Path, database_url: str) -> None:
    async with owner_at(tmp_path, database_url) as (owner, process):
        token = owner.headers["Authorization"].removeprefix("Bearer ")
        for protocols in (f"bearer.{token}", f"FeedbackWave, bearer.{token}"):
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await owner.http.ws_connect(
                    f"{owner.url}/api/feedback/live",
                    headers={"Sec-WebSocket-Protocol": protocols, "Origin": "http://x.example"},
                )
            async with owner.http.ws_connect(f"{owner.url}/api/feedback/live", headers={"Sec-WebSocket-Protocol": protocols}):
                pass
        assert await process.stop() == 0
        assert token not in process.output


async def test_a_slow_reader_that_goes_on_reading_gets_everything(tmp_path: Path, database_url: str) -> None:
    async with owner_at(tmp_path, database_url) as (owner, _):
        await fill(owner, 200)
        opened = await owner.open_live(0, buffer=4096)
        loop, text = asyncio.get_running_loop(), bytearray()
        while b'"cursor":200}}' not in text and len(text) < 10_000_000:
            chunk = await asyncio.wait_for(loop.sock_recv(opened, 16384), 20)
            assert chunk, "the server has cut it off"
            text += chunk
            await asyncio.sleep(0.001)
        assert json.dumps(f"{'€' * 5000}", ensure_ascii=False).encode() in text
