"""What may fail does, under load: nothing acknowledged is lost, and every reader ends with exactly the inbox."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import pytest

from fw.database.embedded import Cluster
from tests.support.load import more, servers, under_load
from tests.support.people import PASSWORD
from tests.support.postgres import own_cluster, start_cluster, stop_cluster
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A PostgreSQL of the test's own, to be stopped and started."""
    with own_cluster(tmp_path / "own") as found:
        yield found


@contextlib.contextmanager
def frozen(cluster: Cluster) -> Iterator[None]:
    """Stop all processes of a PostgreSQL where they are, as a hung disk or a paused machine does."""
    postmaster = psutil.Process(int((cluster.data / "postmaster.pid").read_text().splitlines()[0]))
    processes = [postmaster, *postmaster.children()]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def a_name() -> str:
    return f"u{uuid4().hex[:12]}"


async def test_one_of_two_worker_processes_is_killed(tmp_path: Path, database_url: str) -> None:
    async with servers(tmp_path, 1, database_url, WEB_CONCURRENCY="2") as (server,):
        url = await server.url()
        async with under_load([url], a_name()) as (senders, _):
            victim = psutil.Process(server.process.pid).children()[0]
            victim.kill()
            await more(senders, 50)
        assert await server.stop() == 0, server.output


async def test_one_of_two_servers_is_killed(tmp_path: Path, database_url: str) -> None:
    async with servers(tmp_path, 2, database_url) as (first, second):
        urls = [await first.url(), await second.url()]
        async with under_load(urls, a_name()):
            await first.stop(signal.SIGKILL)


async def test_one_of_two_servers_is_stopped(tmp_path: Path, database_url: str) -> None:
    async with servers(tmp_path, 2, database_url) as (first, second):
        urls = [await first.url(), await second.url()]
        async with under_load(urls, a_name()):
            assert await asyncio.wait_for(first.stop(), 15) == 0, first.output


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_postgresql_is_stopped_and_started(tmp_path: Path, cluster: Cluster, mode: str) -> None:
    async with servers(tmp_path, 2, cluster.url) as both:
        # They meet at an empty database: one migrates.
        urls = [await server.url() for server in both]
        async with under_load(urls, a_name()):
            await asyncio.to_thread(stop_cluster, cluster, mode)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(start_cluster, cluster)
        for server in both:
            assert server.process.returncode is None, server.output


async def test_the_listeners_connections_are_terminated(tmp_path: Path, database_url: str) -> None:
    async with servers(tmp_path, 2, database_url) as both:
        urls = [await server.url() for server in both]
        async with under_load(urls, a_name()) as (senders, _):
            with psycopg.connect(database_url, autocommit=True) as connection:
                for _ in range(3):
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'feedbackwave listener' AND datname = current_database()"
                    )
                    await more(senders, 30)


async def test_postgresql_is_frozen(tmp_path: Path, cluster: Cluster) -> None:
    async with servers(tmp_path, 1, cluster.url) as (server,):
        url, name = await server.url(), a_name()
        async with under_load([url], name) as (senders, _):
            http, headers = senders[0].account.http, senders[0].account.headers
            with frozen(cluster):

                async def ask(method: str, path: str, **options: Any) -> int:
                    # Six seconds are promised.
                    async with asyncio.timeout(8), http.request(method, url + path, headers=headers, **options) as response:
                        await response.read()
                        return response.status

                calls = [
                    ask("POST", f"/api/feedback/{name}", json={"message": "Hello"}),
                    ask("GET", "/api/feedback"),
                    ask("GET", "/api/feedback/changes", params={"wait": 20}),
                    ask("POST", "/api/feedback/read", json={"up_to": 1}),
                    ask("POST", "/api/auth/login", json={"login": name, "password": PASSWORD}),
                    ask("GET", "/health/ready"),
                ]
                assert await asyncio.gather(*calls) == [503] * len(calls)
                assert await ask("GET", "/health") == 200
            await more(senders, 50)
        assert await server.stop() == 0, server.output


class Proxy:
    """Stands between a server and PostgreSQL, and can fall silent: nothing is forwarded, and nothing is closed."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self.may_pass = asyncio.Event()
        self.may_pass.set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        await self.may_pass.wait()
        with contextlib.suppress(OSError):
            other_reader, other_writer = await asyncio.open_unix_connection(self.socket_path)
            await asyncio.gather(self.forward(reader, other_writer), self.forward(other_reader, writer))

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self.may_pass.wait()
                writer.write(data)
                await writer.drain()
        writer.close()


async def test_the_connection_to_postgresql_falls_silent(tmp_path: Path, cluster: Cluster) -> None:
    proxy = Proxy(f"{cluster.socket_dir}/.s.PGSQL.5432")
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with servers(tmp_path, 1, f"postgresql://postgres@127.0.0.1:{port}/postgres") as (server,):
        url = await server.url()
        async with under_load([url], a_name()) as (senders, _):
            proxy.may_pass.clear()
            ready = f"{url}/health/ready"

            async def says_so() -> bool:
                async with senders[0].account.http.get(ready) as response:
                    return response.status == 503 and "listener" in await response.text()

            # The listener is known dead within 15 s, and requests get their answer.
            await until(says_so, "the listener to be known dead", seconds=15)
            proxy.may_pass.set()
        assert await server.stop() == 0, server.output
    listening.close()
    for task in proxy.tasks:
        task.cancel()
    await asyncio.gather(*proxy.tasks, return_exceptions=True)
