"""Whatever happens to processes and the database: every event is delivered at least once, under one id."""

import asyncio
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from tests.support.load import Account, Sender, more
from tests.support.postgres import own_cluster, start_cluster, stop_cluster
from tests.support.processes import Process, fw
from tests.support.receiver import Receiver
from tests.support.waiting import until

pytestmark = pytest.mark.slow

WEBHOOKS = 3
SETTINGS = {"FW_JWT_SECRET": "s" * 32, "FW_RATE_LIMITS": "off", "FW_LOG_LEVEL": "WARNING", "FW_WEBHOOK_ALLOW_PRIVATE": "1"}


@asynccontextmanager
async def two_servers(folder: Path, url: str) -> AsyncIterator[list[Process]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(fw("serve", folder=folder, DATABASE_URL=url, **SETTINGS)) for _ in range(2)]


@asynccontextmanager
async def under_load(servers: Sequence[Process], receiver: Receiver) -> AsyncIterator[list[Sender]]:
    """Send to two inboxes with webhooks while something happens inside; then check that all of it was delivered."""
    urls = [await server.url() for server in servers]
    async with aiohttp.ClientSession() as http:
        accounts = [Account(http, urls, f"u{uuid4().hex[:12]}") for _ in range(2)]
        for account in accounts:
            await account.register()
            for number in range(WEBHOOKS):
                hook = {"url": f"{receiver.url}/{account.name}/{number}"}
                async with http.post(f"{urls[0]}/api/webhooks", json=hook, headers=account.headers) as response:
                    assert response.status == 201, await response.text()
        senders = [Sender(accounts[number % 2], f"s{number}", is_patient=False) for number in range(4)]
        sending = [asyncio.create_task(sender.run()) for sender in senders]
        try:
            await more(senders, 60)
            yield senders
            await more(senders, 60)
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        await check(receiver, senders)


def delivered(receiver: Receiver) -> dict[str, dict[str, set[str]]]:
    """Return the ids under which each item came to each path."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for got in receiver.got:
        found[got.path][got.json["data"]["id"]].add(got.id)
    return found


async def check(receiver: Receiver, senders: Sequence[Sender]) -> None:
    acknowledged: dict[str, set[str]] = defaultdict(set)
    for sender in senders:
        assert sender.faults == []
        acknowledged[sender.account.name] |= sender.acknowledged.keys()

    async def complete() -> bool:
        found = delivered(receiver)
        return all(
            wanted <= found[f"/hook/{name}/{number}"].keys()
            for name, wanted in acknowledged.items()
            for number in range(WEBHOOKS)
        )

    await until(complete, "everything that was acknowledged to be delivered", seconds=60)
    for path, items in delivered(receiver).items():
        assert {len(ids) for ids in items.values()} == {1}, path


async def end_leases(url: str) -> None:
    """Have a minute pass for the lanes that a killed process had."""
    connection = await asyncpg.connect(url)
    await connection.execute("UPDATE lanes SET leased_until = now()")
    await connection.close()


async def test_one_of_two_servers_is_killed(tmp_path: Path, database_url: str, receiver: Receiver) -> None:
    async with two_servers(tmp_path, database_url) as (first, second):
        async with under_load([first, second], receiver) as senders:
            await first.stop(signal.SIGKILL)
            await more(senders, 20)
            await end_leases(database_url)
        assert await second.stop() == 0, second.output


async def test_one_of_two_servers_is_stopped(tmp_path: Path, database_url: str, receiver: Receiver) -> None:
    async with (
        two_servers(tmp_path, database_url) as (first, second),
        under_load([first, second], receiver),
    ):
        assert await asyncio.wait_for(first.stop(), 60) == 0, first.output


async def test_postgresql_is_stopped_and_started(tmp_path: Path, receiver: Receiver) -> None:
    with own_cluster(tmp_path / "own") as cluster:
        async with two_servers(tmp_path, cluster.url) as both:
            async with under_load(both, receiver):
                await asyncio.to_thread(stop_cluster, cluster, "immediate")
                await asyncio.to_thread(start_cluster, cluster)
                # A job whose process lost its connection begins again when the lease ends.
                await end_leases(cluster.url)
            for server in both:
                assert server.process.returncode is None, server.output
