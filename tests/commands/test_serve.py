"""`fw serve` as a process: how it starts, how it ends, and what a kill leaves behind."""

import asyncio
import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

from tests.conftest import MakeDatabase
from tests.support.people import PASSWORD, register
from tests.support.postgres import lives, postmaster
from tests.support.processes import SETTINGS, Process, fw
from tests.support.waiting import until

pytestmark = pytest.mark.slow


async def log_in(http: aiohttp.ClientSession, url: str, name: str = "somebody") -> dict[str, str]:
    async with http.post(f"{url}/api/auth/login", json={"login": name, "password": PASSWORD}) as response:
        assert response.status == 200, await response.text()
        return {"Authorization": f"Bearer {(await response.json())['access_token']}"}


async def whole_inbox(http: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    query = {"limit": "100"}
    while True:
        async with http.get(f"{url}/api/feedback", params=query, headers=headers) as response:
            page = await response.json()
        items += page["items"]
        if page["next"] is None:
            assert page["total_count"] == len(items)
            return items
        query["after"] = page["next"]


async def submit_until_it_dies(http: aiohttp.ClientSession, url: str, name: str, acknowledged: list[str]) -> None:
    """Send one after the other until the server is gone, and note what was acknowledged."""
    number = 0
    while True:
        try:
            async with http.post(f"{url}/api/feedback/somebody", json={"message": f"{name} {number}"}) as response:
                if response.status != 201:
                    return
                acknowledged.append((await response.json())["id"])
        except aiohttp.ClientError:
            return
        number += 1


async def start_writers(http: aiohttp.ClientSession, url: str) -> tuple[list[str], list[asyncio.Task[None]]]:
    """Have eight senders write, and return what is being acknowledged once there is some."""
    acknowledged: list[str] = []
    writers = [asyncio.create_task(submit_until_it_dies(http, url, f"w{n}", acknowledged)) for n in range(8)]

    async def enough() -> bool:
        return len(acknowledged) > 100

    await until(enough, "submissions to be acknowledged")
    return acknowledged, writers


async def test_comes_up_with_a_database_of_its_own_and_takes_it_down_again(tmp_path: Path) -> None:
    async with fw("serve", folder=tmp_path) as server, aiohttp.ClientSession() as http:
        url = await server.url()
        await register(http, url)
        secret = tmp_path / ".fw" / "jwt-secret"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert len(secret.read_text()) == 64
        database = postmaster(tmp_path)
        assert await server.stop() == 0, server.output
        assert not lives(database)
        assert "Traceback" not in server.output


async def test_keeps_data_and_tokens_over_a_restart(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        async with fw("serve", folder=tmp_path) as server:
            headers = await register(http, await server.url())
            await server.stop(signal.SIGINT)
        async with fw("serve", folder=tmp_path) as server:
            async with http.get(f"{await server.url()}/api/auth/me", headers=headers) as response:
                assert response.status == 200
            await server.stop()


async def test_a_kill_in_the_middle_of_writes_loses_nothing_and_the_next_start_just_works(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        async with fw("serve", folder=tmp_path, **SETTINGS) as server:
            url = await server.url()
            await register(http, url)
            acknowledged, writers = await start_writers(http, url)
            await server.stop(signal.SIGKILL)
            await asyncio.gather(*writers)
            # The embedded server has survived its program: the next one takes it over, and stops it in the end.
            database = postmaster(tmp_path)
            assert lives(database)
        async with fw("serve", folder=tmp_path, **SETTINGS) as server:
            url = await server.url()
            stored = [item["id"] for item in await whole_inbox(http, url, await log_in(http, url))]
            assert set(acknowledged) <= set(stored)
            assert len(stored) == len(set(stored))
            await server.stop()
            assert not lives(database)


async def test_a_kill_of_the_database_too_leaves_a_stale_pid_file_and_the_next_start_just_works(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        async with fw("serve", folder=tmp_path, **SETTINGS) as server:
            url = await server.url()
            await register(http, url)
            acknowledged, writers = await start_writers(http, url)
            database = postmaster(tmp_path)
            family = [database, *database.children(recursive=True)]
            for process in family:
                process.kill()
            await server.stop(signal.SIGKILL)
            await asyncio.gather(*writers)
            psutil.wait_procs(family, timeout=30)
        pid_file = tmp_path / ".fw" / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        # After a reboot the number may belong to anybody: here it is ours.
        pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
        async with fw("serve", folder=tmp_path, **SETTINGS) as server:
            url = await server.url()
            stored = [item["id"] for item in await whole_inbox(http, url, await log_in(http, url))]
            assert set(acknowledged) <= set(stored)
            await server.stop()


async def test_a_stop_finishes_what_is_in_flight(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as http:
        async with fw("serve", folder=tmp_path, **SETTINGS) as server:
            url = await server.url()
            headers = await register(http, url)
            acknowledged, writers = await start_writers(http, url)
            poll = asyncio.create_task(http.get(f"{url}/api/feedback/changes?since=999&wait=30", headers=headers))
            assert await server.stop() == 0, server.output
            await asyncio.gather(*writers)
            await asyncio.gather(poll, return_exceptions=True)
        async with fw("serve", folder=tmp_path, **SETTINGS) as server:
            url = await server.url()
            stored = {item["id"] for item in await whole_inbox(http, url, await log_in(http, url))}
            assert set(acknowledged) <= stored
            await server.stop()


async def test_two_on_one_empty_database_both_come_up(tmp_path: Path, make_database: MakeDatabase) -> None:
    settings = {**SETTINGS, "DATABASE_URL": make_database()}
    async with (
        fw("serve", folder=tmp_path, **settings) as first,
        fw("serve", folder=tmp_path, **settings) as second,
        aiohttp.ClientSession() as http,
    ):
        await register(http, await first.url())
        await log_in(http, await second.url())
        assert (first.output + second.output).count('"migration":"0001.accounts"') == 1
        assert await first.stop() == 0
        assert await second.stop() == 0


async def test_two_on_one_empty_folder_share_its_database_and_the_last_stops_it(tmp_path: Path) -> None:
    async with fw("serve", folder=tmp_path) as first, fw("serve", folder=tmp_path) as second, aiohttp.ClientSession() as http:
        headers = await register(http, await first.url())
        async with http.get(f"{await second.url()}/api/auth/me", headers=headers) as response:
            assert response.status == 200
        database = postmaster(tmp_path)
        await first.stop()
        assert lives(database)
        async with http.get(f"{await second.url()}/api/auth/me", headers=headers) as response:
            assert response.status == 200
        await second.stop()
        assert not lives(database)


async def ends_with_one_line(process: Process) -> str:
    assert await process.ended() == 1, process.output
    lines = [line for line in process.output.splitlines() if '"level":"INFO"' not in line]
    assert len(lines) == 1, process.output
    assert lines[0].startswith("fw: ")
    return lines[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL: is not a PostgreSQL URL"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "DATABASE_URL: "),
        ({"DATABASE_URL": "postgresql://127.0.0.1:1/x", "FW_JWT_SECRET": ""}, "FW_JWT_SECRET: is required"),
        ({"FW_JWT_SECRET": "short"}, "FW_JWT_SECRET: each secret must have at least 32 bytes"),
        ({"PORT": "http"}, "PORT: must be a whole number"),
        ({"HOST": "192.0.2.1"}, "HOST, PORT: cannot listen on 192.0.2.1"),
        ({"FW_DATA_DIR": "/dev/null/x"}, "FW_DATA_DIR: "),
    ],
)
async def test_says_what_is_wrong_in_one_line(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    async with fw("serve", folder=tmp_path, **{"FW_JWT_SECRET": "s" * 32, **settings}) as server:
        assert said in await ends_with_one_line(server)


async def test_says_that_the_database_is_not_there(tmp_path: Path, server_url: str) -> None:
    url = server_url.replace("/postgres?", "/missing?")
    async with fw("serve", folder=tmp_path, DATABASE_URL=url, FW_JWT_SECRET="s" * 32) as server:
        assert 'database "missing" does not exist' in await ends_with_one_line(server)


async def test_says_that_the_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with fw("serve", folder=tmp_path, PORT=port) as server:
            assert f"port {port}" in await ends_with_one_line(server)


async def test_answers_what_is_not_http_with_a_problem(tmp_path: Path, database_url: str) -> None:
    async with fw("serve", folder=tmp_path, DATABASE_URL=database_url, **SETTINGS) as server:
        port = int((await server.url()).rpartition(":")[2])
        for sent in (
            b"NOT HTTP\r\n\r\n",
            b"POST /api/feedback/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /api/feedback/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
            b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20000 + b"\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            answer = await asyncio.wait_for(reader.read(), 10)
            writer.close()
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), answer
            assert b"application/problem+json" in answer
            assert b'"type":"/problems/bad-request"' in answer
        await server.stop()


async def test_starts_its_database_again_if_somebody_kills_it(tmp_path: Path) -> None:
    async with fw("serve", folder=tmp_path, **SETTINGS) as server, aiohttp.ClientSession() as http:
        url = await server.url()
        headers = await register(http, url)
        acknowledged, writers = await start_writers(http, url)
        first = postmaster(tmp_path)
        first.kill()

        async def works_again() -> bool:
            async with http.get(f"{url}/api/auth/me", headers=headers) as response:
                return response.status == 200 and not lives(first)

        await until(works_again, "the database to come back", seconds=60)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        stored = {item["id"] for item in await whole_inbox(http, url, await log_in(http, url))}
        assert set(acknowledged) <= stored
        second = postmaster(tmp_path)
        assert second.pid != first.pid
        assert await server.stop() == 0, server.output
        assert not lives(second)
