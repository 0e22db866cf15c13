"""Spreading the tables over a Citus cluster. What needs one is skipped unless FW_TEST_CITUS_URL names its coordinator."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from fw.cli import main
from fw.config import Config, ConfigError
from fw.database.distribution import COPIED, SENT, SPREAD, distribute, state
from fw.database.migrations import connect, migrate
from fw.database.statements import statements
from fw.ids import HIGHEST, LOWEST
from tests.conftest import SECRET, MakeDatabase
from tests.support import citus

CLUSTER = os.environ.get("FW_TEST_CITUS_URL", "")
needs_cluster = pytest.mark.skipif(not CLUSTER, reason="FW_TEST_CITUS_URL names no Citus cluster")

TABLE = re.compile(rf"\b(?:FROM|JOIN|UPDATE|INTO|USING)\s+({'|'.join(SPREAD)})\b")
OF_ALL = {
    # In the background, or by hand.
    *"backup.begin_anew doctor.outbox outbox.claim outbox.due outbox.leave outbox.renew outbox.state".split(),
    *"purge.deliveries purge.idempotency_keys purge.many_deliveries purge.sessions".split(),
    # Many inboxes at once.
    *"feedback.changes sessions.live_of widgets.count_events".split(),
    # Rows of one user, whose id is known in the statement alone.
    *"users.log_in users.register".split(),
}
"""The statements that need not name their user."""


def test_statements_of_an_inbox_name_its_user() -> None:
    """Else every part of the tables would be asked."""
    unnamed = {
        name
        for name, text in statements(is_spread=True).items()
        if TABLE.search(text) and not re.search(r"\buser_id = \$\d", text)
    }
    assert unnamed == OF_ALL


def test_is_refused_without_citus(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if CLUSTER:
        pytest.skip("the tests' own database is on a cluster")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("FW_JWT_SECRET", SECRET)
    for arguments in (["distribute"], ["distribute", "--status"]):
        assert main(arguments) == 1
        assert "the extension citus is not in this database" in capsys.readouterr().err


def test_no_function_returns_the_row_type_of_a_table(make_database: MakeDatabase) -> None:
    """Citus drops what depends on it when it spreads the table."""
    config = Config(database_url=make_database())
    migrate(config)
    with connect(config) as connection:
        found = connection.execute(
            "SELECT f.proname FROM pg_proc AS f JOIN pg_class AS c ON c.reltype = f.prorettype"
            " WHERE f.pronamespace = 'public'::regnamespace"
        ).fetchall()
    assert found == []


@pytest.fixture
def empty() -> Iterator[Config]:
    """A database on the cluster, without tables."""
    name = f"fw_test_{uuid4().hex[:12]}"
    citus.create_database(CLUSTER, name)
    yield Config(database_url=citus.url_of(CLUSTER, name))
    citus.drop_database(CLUSTER, name)


@needs_cluster
@pytest.mark.slow
def test_spreads_what_is_missing_and_says_what_it_does(empty: Config) -> None:
    told: list[str] = []
    with pytest.raises(ConfigError, match="run fw migrate first"):
        distribute(empty, 4, told.append)
    migrate(empty)
    distribute(empty, 4, told.append)
    assert [line.partition(":")[0] for line in told] == [*COPIED, *SPREAD, *(f"{name}()" for name, _ in SENT)]
    told.clear()
    distribute(empty, 4, told.append)
    assert told == []
    with connect(empty) as connection:
        found = state(connection)
    assert found
    assert found.is_whole
    assert sum(node.shards for node in found.nodes) == 4


@needs_cluster
@pytest.mark.slow
async def test_waits_for_no_running_server(empty: Config) -> None:
    migrate(empty)
    server = await asyncpg.connect(empty.database_url, server_settings={"application_name": "feedbackwave"})
    try:
        with pytest.raises(ConfigError, match="servers are running"):
            distribute(empty, 4, print)
    finally:
        await server.close()


HOT = {
    "feedback.newest": "'{user}', '{low}', '{high}', 20",
    "feedback.oldest": "'{user}', '{low}', '{high}', 20",
    "feedback.changes_of_one": "'{user}', 0, 500, 65536",
    "feedback.one": "'{user}', '{low}'",
    "feedback.position": "'{user}'",
    "sessions.is_live": "'{user}', '{low}'",
    "users.me": "'{user}'",
    "webhooks.list": "'{user}', '{high}', 20",
    "outbox.lease": "'{user}', 'mail', 'account', '{low}', 60",
}


@needs_cluster
@pytest.mark.parametrize("name", HOT)
async def test_a_hot_statement_is_one_task(sql: asyncpg.Connection, name: str) -> None:
    values = HOT[name].format(user=uuid4(), low=LOWEST, high=HIGHEST)
    await sql.execute(f"PREPARE hot AS {statements(is_spread=True)[name]}")
    plan = "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN (COSTS OFF) EXECUTE hot({values})"))
    assert "Task Count: 1" in plan, plan


ONLY_PLAIN = {"feedback.changes", "outbox.claim"}
"""What has another statement in its place there."""
VALUES = {
    "uuid": LOWEST,
    "text": "x",
    "int4": 1,
    "int8": 1,
    "bool": True,
    "timestamptz": datetime(2026, 1, 1, tzinfo=UTC),
    "float8": 1.0,
    "bytea": b"x",
}


@needs_cluster
async def test_citus_takes_every_statement(sql: asyncpg.Connection) -> None:
    refused = {}
    for name, text in statements(is_spread=True).items():
        if name.startswith("distribution.") or name in ONLY_PLAIN:
            continue
        undone = sql.transaction()
        await undone.start()
        try:
            prepared = await sql.prepare(text)
            kinds = [(kind.name.removesuffix("[]"), kind.name.endswith("[]")) for kind in prepared.get_parameters()]
            await prepared.fetch(*([VALUES[name]] if is_array else VALUES[name] for name, is_array in kinds))
        # Others say that the values make no sense.
        except (asyncpg.FeatureNotSupportedError, asyncpg.SyntaxOrAccessError, asyncpg.InternalServerError) as error:
            refused[name] = str(error)
        except asyncpg.PostgresError:
            pass
        finally:
            await undone.rollback()
    assert refused == {}
