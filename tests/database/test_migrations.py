"""The migrations, `sql/schema.sql`, and the named statements."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import psycopg
import pytest

from fw.config import Config, ConfigError
from fw.database import statements
from fw.database.migrations import LOCK, migrate, roll_back, status
from fw.database.pool import has_spread_tables
from tests.conftest import MakeDatabase
from tests.support.processes import fw
from tests.support.waiting import until

pytestmark = pytest.mark.slow

OF_CITUS = ("distribution.", "placement.")
"""The statements that need its tables and functions."""

CATALOG = (
    """SELECT format('column %s.%s %s null=%s default=%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
           NOT a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
       FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
       LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped""",
    "SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'",
    """SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
       FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    """SELECT format('table %s %s %s', relname, relpersistence, reloptions)
       FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'S')""",
    """SELECT format('trigger %s %s', tgrelid::regclass, tgname)
       FROM pg_trigger JOIN pg_class AS c ON c.oid = tgrelid
       WHERE c.relnamespace = 'public'::regnamespace AND NOT tgisinternal""",
)


def describe(url: str) -> list[str]:
    """List everything that a schema consists of, yoyo's own tables left out."""
    with psycopg.connect(url) as connection:
        lines = [row[0] for query in CATALOG for row in connection.execute(query)]
    return sorted(line for line in lines if "yoyo" not in line)


def test_lead_exactly_to_the_schema(make_database: MakeDatabase) -> None:
    migrated, written = make_database(), make_database()
    migrate(Config(database_url=migrated))
    with psycopg.connect(written) as connection:
        connection.execute((statements.ROOT / "schema.sql").read_text())
    assert describe(migrated) == describe(written)


def test_go_up_and_down_and_up_again(make_database: MakeDatabase) -> None:
    config = Config(database_url=make_database())
    everything = list(statements.migration_ids())
    assert migrate(config) == everything
    whole = describe(config.database_url)
    assert roll_back(config, 1) == everything[-1:]
    assert status(config) == {name: name != everything[-1] for name in everything}
    assert roll_back(config, 99) == everything[-2::-1]
    assert describe(config.database_url) == []
    assert migrate(config) == everything
    assert describe(config.database_url) == whole
    assert migrate(config) == []


def test_are_applied_once_by_many_at_once(make_database: MakeDatabase) -> None:
    config = Config(database_url=make_database())
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(migrate, [config] * 4))
    assert sorted(len(ids) for ids in applied) == [0, 0, 0, len(statements.migration_ids())]


def test_go_on_after_a_migrator_was_killed(make_database: MakeDatabase) -> None:
    config = Config(database_url=make_database())
    migrate(config)
    roll_back(config, 1)
    with psycopg.connect(config.database_url, autocommit=True) as connection:
        # What a migrator killed in the middle leaves behind.
        connection.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 12345)")
    assert migrate(config) == list(statements.migration_ids()[-1:])


async def test_wait_for_a_migrator_that_works_and_not_for_one_that_was_killed(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = make_database()
    settings = {"DATABASE_URL": url, "FW_JWT_SECRET": "s" * 32}
    connection = await asyncpg.connect(url)
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK)

    async def both_wait() -> bool:
        return await connection.fetchval("SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")

    async with fw("migrate", folder=tmp_path, **settings) as first, fw("migrate", folder=tmp_path, **settings) as second:
        await until(both_wait)
        os.kill(first.process.pid, signal.SIGKILL)
        await connection.close()
        assert await second.ended() == 0, second.output
    assert all(status(Config(database_url=url)).values())


def test_each_have_a_way_back() -> None:
    for migration_id in statements.migration_ids():
        assert (statements.MIGRATIONS / f"{migration_id}.rollback.sql").is_file()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://nobody@127.0.0.1:1/nowhere", "refused"),
        ("postgresql://nobody@name.invalid/nowhere", "name.invalid"),
    ],
)
def test_say_in_one_line_that_there_is_no_database(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        migrate(Config(database_url=url))
    assert str(caught.value).startswith("DATABASE_URL: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_refuse_a_database_that_is_not_in_utf8(server_url: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE fw_test_latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
        try:
            url = server_url.replace("/postgres?", "/fw_test_latin?", 1)
            with pytest.raises(ConfigError, match="must be in UTF8, not LATIN1"):
                migrate(Config(database_url=url))
        finally:
            connection.execute("DROP DATABASE fw_test_latin")


async def test_every_statement_can_be_prepared(sql: asyncpg.Connection) -> None:
    is_spread = await has_spread_tables(sql)
    for name, text in statements.statements(is_spread=is_spread).items():
        if name.startswith(OF_CITUS) and name != "distribution.is_possible" and not is_spread:
            continue
        try:
            await sql.prepare(text)
        except asyncpg.PostgresError as error:
            pytest.fail(f"{name}: {error}")


def test_every_statement_has_a_purpose_and_names_its_columns() -> None:
    for name, text in statements.statements().items():
        assert text.startswith("-- "), f"{name} has no line of purpose"
        assert "SELECT *" not in text, f"{name} would break when a column is added"
