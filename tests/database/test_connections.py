"""Connections to the database: among many who want one, and encrypted where that is asked for."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from psycopg import pq

from fw.config import LIBPQ_ALONE, Config, ConfigError, load
from fw.database import migrations
from fw.database.pool import Database
from fw.errors import Unavailable
from tests.support.waiting import until

CONNECTIONS = 3
GREEDY = 12
ROUNDS = 30


async def test_serves_who_waits_longest_first(config: Config) -> None:
    numbers = count()
    served: list[int] = []

    async def ask_again_and_again(database: Database) -> None:
        for _ in range(ROUNDS):
            number = next(numbers)

            async def run(connection: Any, number: int = number) -> None:
                served.append(number)
                await connection.fetchval("SELECT 1")

            await database.run("a test", run, 20.0)

    async with Database(replace(config, db_pool=CONNECTIONS)) as database:
        await asyncio.gather(*(ask_again_and_again(database) for _ in range(GREEDY)))
    assert sorted(served) == list(range(GREEDY * ROUNDS))
    # Those who come first wait for connections to be made, each for its own.
    late = max(place - number for place, number in enumerate(served) if number >= GREEDY)
    assert late <= CONNECTIONS, f"somebody was overtaken by {late}"


async def test_work_in_the_background_leaves_connections_to_others(config: Config) -> None:
    running = 0
    go_on = asyncio.Event()

    async def hold(connection: Any) -> None:
        nonlocal running
        running += 1
        await go_on.wait()

    async with Database(replace(config, db_pool=CONNECTIONS)) as database:
        share = database.share(CONNECTIONS - 1)
        holding = [asyncio.create_task(share.run("a test", hold, 20.0)) for _ in range(GREEDY)]
        await until(lambda: asyncio.sleep(0, running == CONNECTIONS - 1), "the share to be used up")
        assert await database.ping(10.0)
        assert running == CONNECTIONS - 1
        go_on.set()
        await asyncio.gather(*holding)
    assert running == GREEDY


class Plain:
    """A server that speaks no TLS, and keeps what it is told all the same."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(await reader.read(1000))
        writer.write(b"N")
        self.heard.append(await reader.read(1000))
        writer.close()


@pytest.fixture
async def plain() -> AsyncIterator[Plain]:
    plain = Plain()
    async with await asyncio.start_server(plain.answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        plain.url = f"postgresql://somebody:hush@127.0.0.1:{port}/fw?sslmode=require"
        yield plain


async def test_both_drivers_insist_on_the_encryption_that_the_url_asks_for(config: Config, plain: Plain) -> None:
    secured = replace(config, database_url=plain.url)
    async with Database(secured) as database:
        with pytest.raises(Unavailable):
            await database.change("migrations.applied")
    with pytest.raises(ConfigError):
        await asyncio.to_thread(migrations.migrate, secured)
    # The request for TLS (PostgreSQL's protocol, SSLRequest), and nothing after its refusal.
    asked = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")

    async def all_heard() -> bool:
        return len(plain.heard) >= 4

    await until(all_heard, "both connections to end")
    assert set(plain.heard) == {asked, b""}


SHARED = {
    "application_name": "x",
    "client_encoding": "utf8",
    "krbsrvname": "postgres",
    "gsslib": "gssapi",
    "sslmode": "prefer",
    "ssl_max_protocol_version": "TLSv1.3",
    "ssl_min_protocol_version": "TLSv1.2",
    "sslnegotiation": "postgres",
    "target_session_attrs": "any",
    "tcp_user_timeout": "60000",
    "options": "-c%20geqo%3Doff",
}
"""Parameters of a URL that both drivers take, with a value that changes nothing."""
PLACES = {
    "dbname",
    "host",
    "passfile",
    "password",
    "port",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslpassword",
    "sslrootcert",
    "user",
}
"""Those that name a server, a user or a file, and are known to asyncpg too."""


async def test_each_parameter_of_a_url_is_taken_by_both_drivers_or_refused(database_url: str) -> None:
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()}
    assert known <= SHARED.keys() | PLACES | LIBPQ_ALONE
    separator = "&" if "?" in database_url else "?"
    for name, value in SHARED.items():
        config = load({"DATABASE_URL": f"{database_url}{separator}{name}={value}"}, Path("/nowhere"))
        with migrations.connect(config):
            pass
        async with Database(config) as database:
            await database.rows("sessions.list_services")
