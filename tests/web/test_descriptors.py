"""What the server does when file descriptors run out: every connection is one."""

import asyncio
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


def test_keeps_what_the_server_itself_needs(limit: int) -> None:
    descriptors = Descriptors(10)
    assert descriptors.suffice(limit - 10 - OWN - 1, 0)
    assert not descriptors.suffice(limit - 10 - OWN, 0)


def test_keeps_a_quarter_of_a_small_limit(limit: int) -> None:
    descriptors = Descriptors(limit)
    assert descriptors.suffice(limit - limit // 4 - 1, 0)
    assert not descriptors.suffice(limit - limit // 4, 0)


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


@pytest.mark.slow
async def test_says_that_they_run_out_and_goes_on_when_there_are_some_again(tmp_path: Path, database_url: str) -> None:
    settings = {**SETTINGS, "DATABASE_URL": database_url, "FW_DB_POOL": "4"}
    held: list[socket.socket] = []
    async with fw("serve", folder=tmp_path, **settings) as server, aiohttp.ClientSession() as http:
        url, pid = await server.url(), server.process.pid
        headers = await register(http, url, f"u{pid}")
        limit = len(list(Path(f"/proc/{pid}/fd").iterdir())) + OWN + 40
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        while await is_served(url, held):
            assert len(held) < limit, "there is no end to connections"
        assert len(held) > 20
        refused = [await is_served(url, held) for _ in range(20)]
        assert not any(refused)
        lines = [line for line in server.output.splitlines() if '"level":"ERROR"' in line]
        assert 0 < len(lines) < len(refused)
        assert all("too many open files: new connections are closed" in line for line in lines)
        # Those who are there are served, also by the database.
        async with http.get(f"{url}/api/feedback", headers=headers) as answer:
            assert answer.status == 200
        for sock in held:
            sock.close()

        async def is_served_again() -> bool:
            return await is_served(url, held)

        await until(is_served_again, "the server to answer again")
        assert await server.stop() == 0, server.output
    for sock in held:
        sock.close()
