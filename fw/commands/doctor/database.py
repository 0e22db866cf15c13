"""What `fw doctor` asks of the database."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import asyncpg

from fw.accounts.tokens import LEEWAY_SECONDS
from fw.commands.doctor.finding import Finding, Subject, failed, ok, skipped, told, warning
from fw.config import Config, ConfigError
from fw.database import distribution, migrations
from fw.database.connections import Capacity, capacity
from fw.database.statements import migration_ids, statements

HEARD_SECONDS: Final = 2.0
CLOCK_SECONDS: Final = 2.0
OLDEST_SECONDS: Final = 300.0
"""For how long a job of the outbox may be due: what fails is tried again later, and so is due later."""
MOST_CLOCK_SECONDS: Final = LEEWAY_SECONDS / 2
"""Half the leeway of tokens: two hosts may be off in opposite directions."""
DISTRIBUTE: Final = "stop the servers, and run fw distribute"
NTP: Final = "have both machines set their clocks by NTP"
LEAST_VERSION: Final = migrations.LEAST_VERSION


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a connection that works through a transaction pooler too. It is closed without waiting for an answer."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        yield connection
    finally:
        connection.terminate()


async def check_database(subject: Subject) -> Finding:
    """Connect, and look at what answers."""
    config = subject.config
    if subject.trouble:
        return failed(subject.trouble, "set FW_DATA_DIR to a folder that can be written, or DATABASE_URL to a PostgreSQL")
    try:
        async with connected(config.database_url) as connection:
            server = await connection.fetchrow(statements()["doctor.server"])
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return failed(told(error, config), "see that DATABASE_URL is right, and that the server runs and lets this machine in")
    version = f"PostgreSQL {server['version']}"
    if server["version_number"] < LEAST_VERSION:
        return failed(version, f"PostgreSQL {LEAST_VERSION // 10000} or later is needed: upgrade it")
    if server["encoding"] != "UTF8":
        return failed(f"{version}, in {server['encoding']}", "make a database in UTF8 (CREATE DATABASE ... ENCODING 'UTF8')")
    if server["is_read_only"]:
        return failed(f"{version}, read-only", "point DATABASE_URL at the primary server: this one is a standby")
    return ok(version + (", embedded" if subject.is_embedded else ""))


async def check_migrations(subject: Subject) -> Finding:
    """Compare the applied migrations with those of this release."""
    async with connected(subject.config.database_url) as connection:
        try:
            rows = await connection.fetch(statements()["migrations.applied"])
        except asyncpg.UndefinedTableError:
            rows = []
    applied, known = {row["migration_id"] for row in rows}, set(migration_ids())
    if missing := sorted(known - applied):
        return failed(
            f"{len(missing)} of {len(known)} missing: {', '.join(missing)}", "fw migrate (fw serve does it at its start)"
        )
    if unknown := sorted(applied - known):
        return warning(
            f"the database is of a newer release, with {', '.join(unknown)}", "start the newer release: this one may not fit it"
        )
    return ok(f"{len(known)} of {len(known)} applied")


async def check_listen(subject: Subject) -> Finding:
    """Listen and notify over the URLs that the servers use, and see whether a notification arrives."""
    config = subject.config
    if config.redis_url:
        return skipped("REDIS_URL is set: hints go through Redis")
    name = "FW_LISTEN_URL" if config.is_pooled else "DATABASE_URL"
    try:
        seconds = await seconds_to_hear(config)
    except TimeoutError:
        pass
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return failed(f"{name}: {told(error, config)}", f"see that {name} leads to the database itself")
    else:
        return ok(f"a notification took {seconds * 1000:.0f} ms")
    if config.is_pooled:
        advice = "FW_LISTEN_URL has to lead to the same database as DATABASE_URL, past any transaction pooler"
    else:
        advice = "a transaction pooler seems to be in the way: set FW_LISTEN_URL to a connection that goes past it"
    return failed(f"{name}: LISTEN was accepted, and no notification arrived within {HEARD_SECONDS:.0f} s", advice)


async def seconds_to_hear(config: Config) -> float:
    """Return how long a notification takes from one connection to another. Raises `TimeoutError` if none arrives."""
    channel, heard = f"fw_doctor_{uuid4().hex}", asyncio.Event()

    def take(connection: Any, pid: int, channel: str, payload: object) -> None:
        heard.set()

    async with connected(config.direct_url) as listening, connected(config.database_url) as telling:
        await listening.add_listener(channel, take)
        begun = time.perf_counter()
        await telling.execute(statements()["connections.notify"], channel, "")
        async with asyncio.timeout(HEARD_SECONDS):
            await heard.wait()
        return time.perf_counter() - begun


async def check_connections(subject: Subject) -> Finding:
    """Compare the connections that all processes may open with those that the database allows."""

    def measure() -> Capacity:
        with migrations.connect(subject.config) as connection:
            return capacity(subject.config, connection)

    try:
        found = await asyncio.to_thread(measure)
    except ConfigError as error:
        return failed(told(error, subject.config), "see what is said of listening")
    if found.is_enough:
        return ok(found.sum)
    return warning(
        found.sum, "lower FW_DB_POOL or WEB_CONCURRENCY, raise max_connections, or put a transaction pooler in between"
    )


async def check_cluster(subject: Subject) -> Finding:
    """If the tables are on a cluster, see that all of them are, that its nodes are alike, and how Citus is set."""
    return await asyncio.to_thread(look_at_cluster, subject.config)


def look_at_cluster(config: Config) -> Finding:
    with migrations.connect(config) as connection:
        found = distribution.state(connection)
        if found is None or not found.is_begun:
            return skipped("the tables are on one server")
        if unsafe := distribution.run(connection, "distribution.unsafe"):
            return failed(
                f"Citus may crash on {', '.join(node for (node,) in unsafe)}",
                "set citus.enable_local_fast_path_query_optimization = off in postgresql.conf of every node, and reload it",
            )
        if away := [node.address for node in found.nodes if not node.is_active]:
            return warning(
                f"not active: {', '.join(away)}",
                "call citus_activate_node('address', port) on the coordinator, or remove the node",
            )
        if missing := [*found.missing_tables, *(f"{name}()" for name in found.missing_functions)]:
            return warning(f"not spread: {', '.join(missing)}", DISTRIBUTE)
        if found.left:
            return warning(f"old rows are left with the coordinator: {', '.join(found.left)}", DISTRIBUTE)
        moves = distribution.run(connection, "distribution.moves")[0][0]
    nodes = f"{sum(node.shards > 0 for node in found.nodes)} nodes have data"
    if moves:
        return warning(
            f"{nodes}, unevenly: {moves} shards are to move", "call citus_rebalance_start() there: servers may run meanwhile"
        )
    return ok(nodes)


async def check_clock(subject: Subject, clock: Callable[[], float] = time.time) -> Finding:
    """Compare this machine's clock with the database's, half-way between question and answer."""
    async with connected(subject.config.database_url) as connection:
        before = clock()
        now = (await connection.fetchval(statements()["doctor.clock"])).timestamp()
        off = (before + clock()) / 2 - now
    if abs(off) <= CLOCK_SECONDS:
        return ok(f"within {max(0.1, abs(off)):.1f} s of the database's")
    detail = f"{abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} the database's"
    if abs(off) <= MOST_CLOCK_SECONDS:
        return warning(detail, NTP)
    return failed(f"{detail}: new tokens of other hosts may be refused here, or ours there", NTP)


async def check_outbox(subject: Subject) -> Finding:
    """See whether mails and webhooks that are due are worked on."""
    async with connected(subject.config.database_url) as connection:
        row = await connection.fetchrow(statements()["doctor.outbox"])
    if row["oldest_seconds"] <= OLDEST_SECONDS:
        return ok(f"{row['due']} jobs are due")
    return warning(
        f"{row['due']} jobs are due, the oldest for {row['oldest_seconds'] / 60:.0f} minutes",
        'see that a server runs; its log says "job failed", and why, if mails or webhooks do not get through',
    )
