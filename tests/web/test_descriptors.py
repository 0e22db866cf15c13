"""What the server does when file descriptors run out: every connection is one."""

import asyncio
import contextlib
import logging
import resource
import socket
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from fw.web.descriptors import OWN, TELL_SECONDS, Descriptors
from tests.support.people import register
from tests.support.processes import SETTINGS, fw
from tests.support.waiting import until


@pytest.fixture
def limit() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_asks_idle_connections_to_make_room_for_what_the_server_itself_needs(limit: int) -> None:
    descriptors = Descriptors(10)
    assert not descriptors.are_scarce(limit - 10 - OWN - 1)
    assert descriptors.are_scarce(limit - 10 - OWN)


def test_lends_half_of_what_the_server_itself_needs(limit: int) -> None:
    descriptors = Descriptors(10)
    assert descriptors.suffice(limit - (10 + OWN) // 2 - 1, 0)
    assert not descriptors.suffice(limit - (10 + OWN) // 2, 0)


def test_keeps_a_quarter_of_a_small_limit(limit: int) -> None:
    descriptors = Descriptors(limit)
    assert not descriptors.are_scarce(limit - limit // 4 - 1)
    assert descriptors.are_scarce(limit - limit // 4)


def test_says_so_once_in_a_while(limit: int, caplog: pytest.LogCaptureFixture) -> None:
    descriptors = Descriptors(10)
    for now in (0, 1, TELL_SECONDS - 1, TELL_SECONDS, TELL_SECONDS + 1):
        assert not descriptors.suffice(limit - 1, now)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert [record.__dict__["closed"] for record in caplog.records] == [1, 3]
    assert {record.__dict__["limit"] for record in caplog.records} == {limit}


async def is_served(url: str, held: list[socket.socket]) -> bool:
    """Connect, ask how it is, and stay; tell whether there was an answer."""
    loop, parts = asyncio.get_running_loop(), urlsplit(url)
    held.append(socket.socket())
    held[-1].setblocking(False)
    try:
        await loop.sock_connect(held[-1], (parts.hostname, parts.port))
        await loop.sock_sendall(held[-1], b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        return (await loop.sock_recv(held[-1], 1000)).startswith(b"HTTP/1.1 200 ")
    except ConnectionError:
        return False


async def wait_long(url: str, held: list[socket.socket], token: str) -> None:
    """Connect, and wait for changes."""
    loop, parts = asyncio.get_running_loop(), urlsplit(url)
    held.append(socket.socket())
    held[-1].setblocking(False)
    await loop.sock_connect(held[-1], (parts.hostname, parts.port))
    asked = f"GET /api/feedback/changes?since=0&wait=30 HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\n"
    with contextlib.suppress(ConnectionError):
        await loop.sock_sendall(held[-1], asked.encode())


def leave_room(pid: int, connections: int) -> None:
    """Lower a server's limit to what it has open, what it keeps for itself, and so many connections."""
    limit = len(list(Path(f"/proc/{pid}/fd").iterdir())) + OWN + connections
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))


@pytest.mark.slow
async def test_may_open_as_many_as_the_system_lets_it(tmp_path: Path, database_url: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        async with fw("serve", folder=tmp_path, **SETTINGS, DATABASE_URL=database_url) as server:
            await server.url()
            assert resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
async def test_connections_that_are_idle_longest_make_room_for_new_ones(tmp_path: Path, database_url: str) -> None:
    settings = {**SETTINGS, "DATABASE_URL": database_url, "FW_DB_POOL": "4"}
    held: list[socket.socket] = []
    async with fw("serve", folder=tmp_path, **settings) as server:
        url = await server.url()
        leave_room(server.process.pid, 60)
        for number in range(200):
            assert await is_served(url, held), number
        assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(held[0], 1000), 10) == b""
        held[-1].sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await asyncio.get_running_loop().sock_recv(held[-1], 1000)).startswith(b"HTTP/1.1 200 ")
    for sock in held:
        sock.close()


@pytest.mark.slow
async def test_says_that_they_run_out_and_goes_on_when_there_are_some_again(tmp_path: Path, database_url: str) -> None:
    settings = {**SETTINGS, "DATABASE_URL": database_url, "FW_DB_POOL": "4"}
    held: list[socket.socket] = []
    async with fw("serve", folder=tmp_path, **settings) as server, aiohttp.ClientSession() as http:
        url, pid = await server.url(), server.process.pid
        people = [await register(http, url, f"u{pid}{each}") for each in "abcd"]
        leave_room(pid, 40)
        for number in range(40 + OWN):
            await wait_long(url, held, people[number % 4]["Authorization"])
        refused = [await is_served(url, held) for _ in range(20)]
        assert not any(refused)
        lines = [line for line in server.output.splitlines() if '"level":"ERROR"' in line]
        assert 0 < len(lines) < len(refused)
        assert all("too many open files: new connections are closed" in line for line in lines), lines
        for sock in held:
            sock.close()

        async def is_served_again() -> bool:
            return await is_served(url, held)

        await until(is_served_again, "the server to answer again")
        async with http.get(f"{url}/api/feedback", headers=people[0]) as answer:
            assert answer.status == 200
        assert await server.stop() == 0, server.output
    for sock in held:
        sock.close()
