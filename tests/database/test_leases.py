"""Connections that are kept from one statement to the next."""

import asyncio
from typing import Any

import asyncpg
import pytest

from fw.config import Config
from fw.database import leases as module
from fw.database.leases import Leases
from fw.database.pool import Database
from fw.errors import Unavailable
from tests.support.waiting import until


def leases_of(database: Database) -> Leases:
    assert database._leases is not None
    return database._leases


async def server_process(database: Database) -> int:
    """Return which process of the database serves the next statement."""
    return int(await database.run("pid", lambda connection: connection.fetchval("SELECT pg_backend_pid()"), 5))


async def is_kept_by_pool(database: Database, count: int) -> None:
    async def is_idle() -> bool:
        return leases_of(database)._pool.get_idle_size() == count

    await until(is_idle, "the pool to have its connections back")


async def test_one_connection_serves_one_statement_after_another(database: Database) -> None:
    first = await server_process(database)
    assert {await server_process(database) for _ in range(20)} == {first}
    assert (database.size, database.in_use) == (1, 0)


async def test_statements_at_the_same_time_have_a_connection_each(database: Database) -> None:
    async def run(connection: Any) -> int:
        assert database.in_use <= 10
        await connection.execute("SELECT pg_sleep(0.05)")
        return int(await connection.fetchval("SELECT pg_backend_pid()"))

    served = await asyncio.gather(*(database.run("pid", run, 5) for _ in range(40)))
    assert 1 < len(set(served)) <= 10
    assert database.in_use == 0


async def test_the_pool_has_a_connection_back_when_its_time_has_ended(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT_SECONDS", 0.1)
    await server_process(database)
    await is_kept_by_pool(database, 1)
    leases = leases_of(database)
    connection = await leases.take()
    await is_kept_by_pool(database, 0)

    async def has_ended() -> bool:
        return connection not in leases._kept

    await until(has_ended)
    leases.give_back(connection)
    await is_kept_by_pool(database, 1)


async def test_a_connection_that_was_lost_meanwhile_is_not_used(database: Database, sql: asyncpg.Connection) -> None:
    first = await server_process(database)
    await sql.execute("SELECT pg_terminate_backend($1)", first)
    [connection] = leases_of(database)._free

    async def is_lost() -> bool:
        return not module.is_ready(connection)

    await until(is_lost)
    assert await server_process(database) != first
    assert database.in_use == 0


async def test_a_connection_with_an_open_transaction_is_not_used_again(database: Database) -> None:
    first = await server_process(database)
    await database.run("begin", lambda connection: connection.execute("BEGIN"), 5)
    assert await server_process(database) != first


async def test_a_connection_whose_statement_was_given_up_is_not_used_again(database: Database) -> None:
    first = await server_process(database)
    with pytest.raises(Unavailable):
        await database.run("sleep", lambda connection: connection.execute("SELECT pg_sleep(60)"), 0.1)
    assert await server_process(database) != first
    assert database.in_use == 0


async def test_after_a_failover_all_connections_are_made_anew(database: Database, sql: asyncpg.Connection) -> None:
    async def two(connection: Any) -> int:
        pid = int(await connection.fetchval("SELECT pg_backend_pid()"))
        await connection.execute("SELECT pg_sleep(0.1)")
        return pid

    before = set(await asyncio.gather(*(database.run("pid", two, 5) for _ in range(2))))
    with pytest.raises(Unavailable):
        await database.run("write", write_on_a_standby, 5)
    assert not before & set(await asyncio.gather(*(database.run("pid", two, 5) for _ in range(2))))


async def write_on_a_standby(connection: Any) -> None:
    async with connection.transaction(readonly=True):
        await connection.execute("CREATE TABLE nothing ()")


async def test_all_are_closed_in_the_end(config: Config, sql: asyncpg.Connection) -> None:
    async with Database(config) as database:
        pid = await server_process(database)

    async def is_closed() -> bool:
        return await sql.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid) == 0

    await until(is_closed)


class SlowPool:
    """A pool that makes a connection, and gives it out later."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool
        self.is_made, self.may_go_on = asyncio.Event(), asyncio.Event()

    async def acquire(self) -> Any:
        connection = await self.pool.acquire()
        self.is_made.set()
        await self.may_go_on.wait()
        return connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)


async def test_a_connection_that_is_being_made_meanwhile_is_not_waited_for_in_the_end(database: Database) -> None:
    leases = leases_of(database)
    pool: Any = SlowPool(leases._pool)
    leases._pool = pool
    taking = asyncio.create_task(leases.take())
    await pool.is_made.wait()
    closing = asyncio.create_task(leases.close())
    await asyncio.sleep(0)
    pool.may_go_on.set()
    leases.give_back(await taking)
    assert not leases._free
    await closing
