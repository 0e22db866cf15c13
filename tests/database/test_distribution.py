"""Spreading the tables over a Citus cluster. What needs one is skipped unless FW_TEST_CITUS_URL names its coordinator."""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import psycopg
import pytest

from fw.cli import main
from fw.commands.doctor.database import check_cluster
from fw.commands.doctor.finding import Status, Subject
from fw.commands.dump.progress import Progress
from fw.commands.dump.writing import backup
from fw.config import Config, ConfigError
from fw.database.distribution import COPIED, SENT, SPREAD, run, state
from fw.database.migrations import connect, migrate, roll_back
from fw.database.spreading import distribute
from fw.database.statements import statements
from fw.ids import HIGHEST, LOWEST
from tests.conftest import SECRET, MakeDatabase
from tests.support import citus
from tests.support.citus import needs_cluster

TABLE = re.compile(rf"\b(?:FROM|JOIN|UPDATE|INTO|USING)\s+({'|'.join(SPREAD)})\b")
OF_ALL = {
    # In the background, or by hand.
    *"backup.begin_anew doctor.outbox outbox.claim outbox.due outbox.leave outbox.renew outbox.state".split(),
    *"purge.deliveries purge.idempotency_keys purge.many_deliveries purge.sessions".split(),
    # Many inboxes at once.
    *"feedback.changes sessions.live_of widgets.count_events".split(),
    # Rows of one user, whose id is known in the statement alone.
    *"users.log_in users.register".split(),
    # Another one is in its place there.
    "feedback.append_alone",
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
    if citus.CLUSTER:
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
    with citus.empty_database() as config:
        yield config


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


def fill(config: Config) -> None:
    """Give 300 users 100 items each: 10 MB."""
    with connect(config) as connection:
        connection.execute(
            "INSERT INTO users (id, username, email, email_key, hashed_password)"
            " SELECT gen_random_uuid(), i, i || '@example.org', i || '@example.org', 'x' FROM generate_series(1, 300) AS i"
        )
        connection.execute("INSERT INTO inboxes (user_id, cursor, total_count, unread_count) SELECT id, 100, 100, 0 FROM users")
        connection.execute(
            "INSERT INTO feedback (user_id, id, cursor, created_cursor, created_at, message)"
            " SELECT id, gen_random_uuid(), i, i, now(), repeat('m', 100) FROM users, generate_series(1, 100) AS i"
        )


def sums(connection: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return [
        connection.execute(statement).fetchone() or ()
        for statement in (
            "SELECT count(*), sum(cursor), count(DISTINCT id) FROM feedback",
            "SELECT count(*), sum(total_count) FROM inboxes",
            "SELECT count(*), count(DISTINCT username) FROM users",
        )
    ]


def check_spread(config: Config, before: list[tuple[Any, ...]]) -> None:
    """Check that everything is spread, and that the rows are those of before."""
    with connect(config) as connection:
        found = state(connection)
        assert found
        assert found.is_whole
        assert sums(connection) == before


@needs_cluster
@pytest.mark.slow
async def test_rows_move_to_the_nodes_and_leave_the_coordinator(empty: Config) -> None:
    migrate(empty)
    fill(empty)
    with connect(empty) as connection:
        before = sums(connection)
    told: list[str] = []
    distribute(empty, 4, told.append)
    given_back = {line.partition(":")[0] for line in told if "given back" in line}
    assert given_back == {"users", "inboxes", "feedback"}
    check_spread(empty, before)


@needs_cluster
@pytest.mark.slow
async def test_old_rows_of_a_killed_run_are_found_and_leave(empty: Config) -> None:
    migrate(empty)
    fill(empty)

    class Killed(Exception):
        pass

    def until_given_back(step: str) -> None:
        if "given back" in step:
            raise Killed

    with pytest.raises(Killed):
        distribute(empty, 4, until_given_back)
    with connect(empty) as connection:
        found = state(connection)
        before = sums(connection)
    assert found
    assert set(found.left) == {"users", "inboxes", "feedback"}
    assert found.left["feedback"] > 5_000_000
    assert (await check_cluster(Subject(config=empty))).detail.startswith("old rows are left with the coordinator: ")
    distribute(empty, 4, print)
    check_spread(empty, before)


@needs_cluster
@pytest.mark.slow
def test_data_that_has_no_room_is_refused(empty: Config) -> None:
    """Every node says that its disk has 4 MB left, and each of two is to get 5."""
    migrate(empty)
    fill(empty)
    for address in citus.nodes_of(empty.database_url):
        with psycopg.connect(citus.url_of(empty.database_url, address=address[:2])) as connection:
            connection.execute("SET citus.enable_ddl_propagation = off")
            connection.execute(
                "CREATE FUNCTION citus_local_disk_space_stats(OUT available_disk_size bigint, OUT total_disk_size bigint)"
                " LANGUAGE sql AS 'SELECT 4000000, 9000000'"
            )
            connection.execute(f"ALTER DATABASE {connection.info.dbname} SET search_path = public, pg_catalog")
    with pytest.raises(ConfigError, match=r"the node .* is to get .* MB at least, and its disk has 4\.0 MB left"):
        distribute(empty, 4, print)
    with connect(empty) as connection:
        found = state(connection)
    assert found
    assert not found.is_begun


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


def bodies(config: Config) -> set[tuple[str, ...]]:
    """Return the bodies of all functions, as each node has them."""
    found = set()
    for address in citus.nodes_of(config.database_url):
        with psycopg.connect(citus.url_of(config.database_url, address=address[:2])) as connection:
            listed = "SELECT proname || prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
            found.add(tuple(row[0] for row in connection.execute(listed)))
    return found


@needs_cluster
@pytest.mark.slow
def test_migrations_of_spread_tables_leave_them_spread(empty: Config) -> None:
    migrate(empty)
    distribute(empty, 4, print)
    before = bodies(empty)
    assert len(before) == 1
    # With these go functions that nodes run as a whole, and tables.
    newest = roll_back(empty, 5)
    with connect(empty) as connection:
        found = state(connection)
        assert found
        assert "jobs" in found.missing_tables
    assert migrate(empty) == newest[::-1]
    with connect(empty) as connection:
        found = state(connection)
    assert found
    assert found.is_whole
    assert bodies(empty) == before


def begin_to_distribute(config: Config) -> None:
    """Spread the first tables alone."""
    with connect(config) as connection:
        for name, *arguments in (("copy", "users"), ("spread_first", "inboxes", "user_id", 4)):
            run(connection, f"distribution.{name}", *arguments)


@needs_cluster
@pytest.mark.slow
def test_migrations_spread_no_table_that_was_left(empty: Config) -> None:
    """Servers may run, and it has rows."""
    migrate(empty)
    begin_to_distribute(empty)
    roll_back(empty, 1)
    migrate(empty)
    with connect(empty) as connection:
        found = state(connection)
    assert found
    assert list(found.missing_tables) == ["widgets", *SPREAD[1:]]
    assert not found.missing_functions


@needs_cluster
@pytest.mark.slow
async def test_the_doctor_looks_at_the_cluster(empty: Config) -> None:
    migrate(empty)
    look = partial(check_cluster, Subject(config=empty))
    assert (await look()).status is Status.SKIPPED
    begin_to_distribute(empty)
    found = await look()
    assert found.status is Status.WARNING
    assert found.detail.startswith("not spread: widgets, feedback, ")
    distribute(empty, 4, print)
    assert (await look()).status is Status.OK
    with connect(empty) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET citus.enable_local_fast_path_query_optimization = on")
    assert (await look()).status is Status.FAILED


@needs_cluster
@pytest.mark.slow
def test_a_backup_says_whether_it_is_of_one_moment(empty: Config, tmp_path: Path) -> None:
    migrate(empty)
    distribute(empty, 4, print)

    def words(name: str) -> str:
        with Progress(io.StringIO()) as progress:
            return backup(empty, tmp_path / name, progress)

    assert "moment" not in words("first")
    with psycopg.connect(empty.database_url, application_name="feedbackwave"):
        assert "not of one moment" in words("second")


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
