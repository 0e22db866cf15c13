"""`fw backup` and `fw restore`, there and back on a real PostgreSQL."""

import asyncio
import io
import os
import random
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import psycopg
import pytest
from aiohttp.test_utils import TestClient
from psycopg import sql

from fw.cli import main
from fw.commands.dump import file
from fw.commands.dump.file import read_contents
from fw.commands.dump.programs import connection_settings, fitting_program
from fw.commands.dump.progress import Progress
from fw.commands.dump.restoring import GAP, restore
from fw.commands.dump.tables import tables, tables_by_migration
from fw.commands.dump.writing import backup
from fw.config import Config, ConfigError
from fw.database import embedded
from fw.database.migrations import migrate, roll_back, status
from fw.database.statements import migration_ids
from tests.conftest import SECRET, MakeClient, MakeDatabase
from tests.support.people import PASSWORD, Person, body, make_person, nothing, problem
from tests.support.processes import fw
from tests.support.waiting import until

pytestmark = pytest.mark.slow

Rows = dict[str, list[tuple[Any, ...]]]

DAMAGES = 100


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def quiet() -> Progress:
    return Progress(io.StringIO())


def rows(url: str) -> Rows:
    """Read everything that is stored, as text."""
    with psycopg.connect(url) as connection:
        return {
            table: connection.execute(
                sql.SQL("SELECT t::text FROM {} AS t ORDER BY 1").format(sql.Identifier(table))
            ).fetchall()
            for table in tables()
        }


def moved(url: str, by: int) -> Rows:
    """The same, with the inboxes as a restore leaves them."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE inboxes SET cursor = cursor + %s, horizon = cursor + %s", [by, by])
        inboxes = connection.execute("SELECT t::text FROM inboxes AS t ORDER BY 1").fetchall()
        connection.rollback()
    return {**rows(url), "inboxes": inboxes}


@dataclass(slots=True)
class World:
    """A database of its own with people in it, and a server on it."""

    config: Config
    client: TestClient
    user: Person
    widget_id: str
    ids: list[str]


@pytest.fixture
async def world(make_database: MakeDatabase, make_client: MakeClient, config: Config) -> World:
    """Somebody with feedback that is read, unread, rated and deleted, and somebody else."""
    config = replace(config, database_url=make_database())
    await asyncio.to_thread(migrate, config)
    client = await make_client(database_url=config.database_url)
    user = await make_person(client)
    ids = [await user.receive(text) for text in ("one", "zwei: \\N, \\., \t and \u2028", "三\n\\.\n", "gone")]
    await body(await user.patch(f"/api/feedback/{ids[0]}/read"))
    await nothing(await user.delete(f"/api/feedback/{ids[3]}"))
    widget_id = (await user.make_widget(type="nps", settings={"title": 'a "title"'}))["id"]
    await body(await client.post(f"/api/widgets/{widget_id}/feedback", json={"rating": 9}), 201)
    keyed = {"Idempotency-Key": "7f3a"}
    await body(await client.post(f"/api/feedback/{user.username}", json={"message": "once"}, headers=keyed), 201)
    other = await make_person(client)
    await nothing(await other.post("/api/auth/logout"))
    # From here on nothing changes by itself.
    await until(lambda: asyncio.to_thread(has_no_jobs, config.database_url), "the outbox to be empty")
    return World(config, client, user, widget_id, ids)


def has_no_jobs(url: str) -> bool:
    return not rows(url)["jobs"] and not rows(url)["lanes"]


async def seen(world: World) -> list[Any]:
    """Read all that the API shows of somebody, but where their inbox stands."""
    inbox = await world.user.inbox()
    del inbox["cursor"]
    paths = ("/api/auth/me", "/api/widgets", f"/api/widgets/{world.widget_id}/stats", f"/api/widgets/{world.widget_id}/config")
    return [inbox, *[await body(await world.user.get(path)) for path in paths]]


async def change_much(world: World) -> None:
    """Do all that a restore has to take back."""
    await nothing(await world.user.delete(f"/api/feedback/{world.ids[1]}"))
    await world.user.receive("later")
    await nothing(await world.user.delete(f"/api/widgets/{world.widget_id}"))
    await make_person(world.client)
    await nothing(await world.user.post("/api/auth/logout"))


async def run(work: Callable[..., str], world: World, path: Path, **options: Any) -> str:
    return await asyncio.to_thread(work, world.config, path, quiet(), **options)


def test_the_tables_are_those_that_the_migrations_make_and_a_crash_would_spare(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        found = connection.execute(
            "SELECT relname FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relpersistence = 'p' AND relname !~ 'yoyo'"
        )
        assert {row[0] for row in found} == set(tables())


async def test_brings_everything_back(world: World, tmp_path: Path) -> None:
    path = tmp_path / "all.dump"
    before, expected = await seen(world), moved(world.config.database_url, GAP)
    said = await run(backup, world, path)
    assert f"backed up {len(tables())} tables, " in said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    await change_much(world)
    count = sum(len(found) for found in expected.values())
    assert await run(restore, world, path, force=True) == f"restored {len(tables())} tables, {count} rows"
    assert rows(world.config.database_url) == expected
    assert await seen(world) == before
    assert list(tmp_path.glob("*.part")) == []


async def test_goes_to_another_database_and_on_from_there(world: World, make_database: MakeDatabase, tmp_path: Path) -> None:
    await run(backup, world, tmp_path / "all.dump")
    new = Config(database_url=make_database())
    await asyncio.to_thread(restore, new, tmp_path / "all.dump", quiet())
    assert rows(new.database_url) == moved(world.config.database_url, GAP)
    assert all(status(new).values())


async def test_has_every_client_begin_anew(world: World, make_client: MakeClient, tmp_path: Path) -> None:
    user = world.user
    at_backup = (await user.inbox())["cursor"]
    await run(backup, world, tmp_path / "all.dump")
    for text in ("lost 1", "lost 2"):
        await user.receive(text)
    page = await user.get("/api/feedback")
    ahead = (await body(page))["cursor"]
    await run(restore, world, tmp_path / "all.dump", force=True)
    user.client = await make_client(database_url=world.config.database_url)
    for cursor in (at_backup, ahead, ahead + 50):
        changes = await user.changes(cursor)
        assert [event["event"] for event in changes["events"]] == ["resync"]
    # Also once as many changes have happened as were lost: the same numbers stood for others.
    for text in ("new 1", "new 2"):
        await user.receive(text)
    changes = await user.changes(ahead)
    assert [event["event"] for event in changes["events"]] == ["resync"]
    assert (await user.get("/api/feedback", headers={"If-None-Match": page.headers["ETag"]})).status == 200
    inbox = await user.inbox()
    assert inbox["cursor"] == changes["cursor"] == at_backup + GAP + 2
    assert [item["message"] for item in inbox["items"]][:3] == ["new 2", "new 1", "once"]
    assert (await user.changes(inbox["cursor"]))["events"] == []
    async with user.client.ws_connect(f"/api/feedback/live?since={ahead}", headers=user.headers) as ws:
        assert (await ws.receive_json())["event"] == "hello"
        assert await ws.receive_json() == {"event": "resync", "cursor": inbox["cursor"]}


async def test_goes_on_under_a_live_socket(world: World, tmp_path: Path) -> None:
    """Servers are to be stopped first; one that was forgotten has its readers begin anew."""
    user = world.user
    await run(backup, world, tmp_path / "all.dump")
    async with user.client.ws_connect("/api/feedback/live", headers=user.headers) as ws:
        assert (await ws.receive_json())["event"] == "hello"
        await user.receive("lost")
        assert (await ws.receive_json())["feedback"]["message"] == "lost"
        await run(restore, world, tmp_path / "all.dump", force=True)
        await user.receive("new")
        event = await ws.receive_json()
        assert event == {"event": "resync", "cursor": (await user.inbox())["cursor"]}
        await user.receive("newer")
        assert (await ws.receive_json())["feedback"]["message"] == "newer"


async def test_restores_logins_and_keys(world: World, make_client: MakeClient, tmp_path: Path) -> None:
    await run(backup, world, tmp_path / "all.dump")
    await change_much(world)
    await run(restore, world, tmp_path / "all.dump", force=True)
    client = await make_client(database_url=world.config.database_url)
    asked = {"login": world.user.username, "password": PASSWORD}
    await body(await client.post("/api/auth/login", json=asked))
    before = (await world.user.inbox())["total_count"]
    keyed = {"Idempotency-Key": "7f3a"}
    await body(await client.post(f"/api/feedback/{world.user.username}", json={"message": "once"}, headers=keyed), 201)
    answer = await client.post(f"/api/feedback/{world.user.username}", json={"message": "other"}, headers=keyed)
    await problem(answer, 409, "idempotency-mismatch")
    assert (await world.user.inbox())["total_count"] == before


async def test_refuses_a_database_with_rows(world: World, tmp_path: Path) -> None:
    await run(backup, world, tmp_path / "all.dump")
    before = rows(world.config.database_url)
    with pytest.raises(ConfigError, match=r"the database is not empty \(\w+ has rows\): --force replaces everything"):
        await run(restore, world, tmp_path / "all.dump")
    assert rows(world.config.database_url) == before


async def test_a_truncated_file_changes_nothing(world: World, tmp_path: Path) -> None:
    path = tmp_path / "all.dump"
    await run(backup, world, path)
    whole, before = path.read_bytes(), rows(world.config.database_url)
    for size in {*range(0, len(whole), len(whole) // 12), len(whole) - 1}:
        path.write_bytes(whole[:size])
        with pytest.raises(ConfigError) as caught:
            await run(restore, world, path, force=True)
        assert str(caught.value).startswith(f"{path}: is broken, not whole, or no file of fw backup ("), size
        assert str(caught.value).endswith("); nothing was changed")
        assert "\n" not in str(caught.value)
    assert rows(world.config.database_url) == before


async def test_a_file_that_breaks_while_it_is_restored_changes_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "all.dump"
    await run(backup, world, path)
    contents, before = read_contents(path, tables()), rows(world.config.database_url)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.8)])
    # As if it had been whole when it was first read.
    monkeypatch.setattr("fw.commands.dump.restoring.read_contents", lambda *_: contents)
    with pytest.raises(ConfigError, match="broken"):
        await run(restore, world, path, force=True)
    assert rows(world.config.database_url) == before


async def test_rows_that_do_not_fit_change_nothing(world: World, make_database: MakeDatabase, tmp_path: Path) -> None:
    """A file whose rows break a constraint: here somebody's widgets without them."""
    source = make_database()
    migrate(Config(database_url=source))
    with psycopg.connect(source, autocommit=True) as connection:
        connection.execute("ALTER TABLE widgets DROP CONSTRAINT widgets_user_id_fkey")
        connection.execute(
            "INSERT INTO widgets VALUES (gen_random_uuid(), gen_random_uuid(), 'a', 'nps', 'light', '{}', true, now())"
        )
    path = tmp_path / "odd.dump"
    backup(Config(database_url=source), path, quiet())
    before = rows(world.config.database_url)
    with pytest.raises(ConfigError, match=r"restoring failed, and nothing was changed: .*widgets_user_id_fkey"):
        await run(restore, world, path, force=True)
    assert rows(world.config.database_url) == before


@pytest.fixture
def dumped(make_database: MakeDatabase, tmp_path: Path) -> Callable[..., Path]:
    """Make a database of some statements, and dump it as fw backup does, whatever it is."""

    def dump(*statements: str, encoding: str = "UTF8") -> Path:
        url = make_database(encoding)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET client_encoding = 'UTF8'")
            for statement in statements:
                connection.execute(statement)
        arguments, environment = connection_settings(url)
        path = tmp_path / "hostile.dump"
        command = [fitting_program("pg_dump", 18), "-Fc", "--data-only", f"--file={path}", *arguments]
        subprocess.run(command, env=environment, check=True)
        return path

    return dump


RECORD = "CREATE TABLE _yoyo_migration (migration_hash text, migration_id text, applied_at_utc timestamp)"
UNREADABLE = r"is broken, or no file of fw backup \(its record of migrations cannot be read\)$"


@pytest.mark.parametrize(
    ("statements", "encoding", "said"),
    [
        (
            ["CREATE TABLE _yoyo_migration (migration_hash text)", "INSERT INTO _yoyo_migration VALUES ('x')"],
            "UTF8",
            UNREADABLE,
        ),
        ([RECORD, r"INSERT INTO _yoyo_migration VALUES ('x', E'\xff\xfe')"], "SQL_ASCII", UNREADABLE),
        ([RECORD, "INSERT INTO _yoyo_migration VALUES ('x', '0002.inboxes')"], "UTF8", "0001.accounts is not in it$"),
        (
            [RECORD, "INSERT INTO _yoyo_migration VALUES ('x', '0001.accounts')", "CREATE TABLE users (id uuid)"],
            "UTF8",
            "is broken, and nothing was changed: password_resets, service_tokens, sessions is not in it$",
        ),
    ],
    ids=["no column", "not UTF-8", "a gap", "no tables"],
)
async def test_a_record_that_makes_no_sense_changes_nothing(
    world: World, dumped: Callable[..., Path], statements: list[str], encoding: str, said: str
) -> None:
    path, before = dumped(*statements, encoding=encoding), rows(world.config.database_url)
    with pytest.raises(ConfigError, match=said):
        await run(restore, world, path, force=True)
    assert rows(world.config.database_url) == before


def test_names_of_a_hostile_file_do_not_command_the_terminal(
    database_url: str,
    dumped: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = "SELECT 'x', E'\x1b[2J\u009b2J' || n FROM generate_series(1, 9) AS n"
    path = dumped(RECORD, f"INSERT INTO _yoyo_migration {names}")
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("FW_JWT_SECRET", SECRET)
    assert main(["restore", "--force", str(path)]) == 1
    written = capsys.readouterr().err
    assert all(line.isprintable() for line in written.splitlines())
    assert "is of a newer release, with " in written
    assert written.count("[2J") == 5


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("exec sleep 100", r"is broken \(pg_restore makes nothing of it\); nothing was changed$"),
        ("exec cat /dev/zero", r"is broken, or no file of fw backup \(a row is longer than any\); nothing was changed$"),
    ],
)
def test_does_not_wait_for_ever_for_what_is_made_of_a_file(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, said: str
) -> None:
    """A file whose bits have pg_restore go round and round is rare, and depends on its version."""
    fake_program(tmp_path / "bin", "pg_restore", "18.1", f'[ "$1" = --version ] || {does}')
    monkeypatch.setattr(embedded, "programs", dict)
    monkeypatch.setattr(file, "SILENT_SECONDS", 1)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    (tmp_path / "odd.dump").touch()
    with pytest.raises(ConfigError, match=said):
        restore(Config(database_url=database_url), tmp_path / "odd.dump", quiet(), force=True)


async def test_a_damaged_file_is_told_or_restored_whole(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_restore passes over an entry of its list that it does not know: a bit can hide a whole table."""
    monkeypatch.setattr(file, "SILENT_SECONDS", 5)
    path, url = tmp_path / "all.dump", world.config.database_url
    await run(backup, world, path)
    await run(restore, world, path, force=True)
    whole, restored, changed = path.read_bytes(), rows(url), changed_rows(url)
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for _ in range(DAMAGES):
        path.write_bytes(damaged(whole, chance))
        said = await outcome(world, path)
        assert rows(url) == (restored if said.startswith("restored ") else changed), f"seed {seed}: {said}"
        assert len(said.splitlines()) == 1, f"seed {seed}: {said}"
        assert changed_rows(url) == changed


def changed_rows(url: str) -> Rows:
    """Change what a restore would take back, and read everything."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE users SET profile_image = 'https://example.com/changed'")
    return rows(url)


async def outcome(world: World, path: Path) -> str:
    """Return what a restore says, of what it has done or of what was wrong."""
    try:
        return await run(restore, world, path, force=True)
    except ConfigError as error:
        return str(error)


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Cut a file off, flip bits of it, or put bytes in; nearer to its beginning, where its list is, more often."""
    data, place = bytearray(whole), int(len(whole) * chance.random() ** 2)
    match chance.randrange(4):
        case 0:
            del data[place:]
        case 1:
            data[place] ^= 1 << chance.randrange(8)
        case 2:
            data[place : place + 8] = bytes(8)
        case _:
            data[place:place] = chance.randbytes(4)
    return bytes(data)


@pytest.mark.parametrize("place", ["folder", "pipe"])
def test_refuses_what_is_no_file(database_url: str, tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    if place == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    config = Config(database_url=database_url)
    with pytest.raises(ConfigError, match=r"is not a file$"):
        restore(config, path, quiet(), force=True)
    with pytest.raises(ConfigError, match=r"is a folder$|is not a file$"):
        backup(config, path, quiet(), force=True)
    assert not path.is_file()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is broken, not whole, or no file of fw backup"),
        (b"-- some SQL\nDROP TABLE users;\n", "is broken, not whole, or no file of fw backup"),
        (None, "cannot be read: No such file or directory"),
    ],
    ids=["empty", "sql", "absent"],
)
def test_refuses_what_is_no_backup(database_url: str, tmp_path: Path, text: bytes | None, said: str) -> None:
    path = tmp_path / "some file"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ConfigError) as caught:
        restore(Config(database_url=database_url), path, quiet(), force=True)
    assert str(caught.value).startswith(f"{path}: {said}")


def test_refuses_a_dump_of_something_else(make_database: MakeDatabase, tmp_path: Path) -> None:
    url = make_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE users (name text)")
    arguments, environment = connection_settings(url)
    path = tmp_path / "other.dump"
    command = [fitting_program("pg_dump", 18), "-Fc", f"--file={path}", *arguments]
    subprocess.run(command, env=environment, check=True)
    with pytest.raises(ConfigError, match="is not a file of fw backup"):
        restore(Config(database_url=url), path, quiet(), force=True)


async def test_refuses_a_file_of_a_newer_release(world: World, tmp_path: Path) -> None:
    path = tmp_path / "newer.dump"
    await run(backup, world, path)
    with psycopg.connect(world.config.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO _yoyo_migration VALUES ('x', '9999.to-come', now())")
    with pytest.raises(ConfigError, match=r"^the database is of a newer release, with 9999\.to-come: use the fw of that"):
        await run(restore, world, path, force=True)
    with pytest.raises(ConfigError, match=r"^the database is of a newer release"):
        await run(backup, world, tmp_path / "another.dump")
    arguments, environment = connection_settings(world.config.database_url)
    command = [fitting_program("pg_dump", 18), "-Fc", "--data-only", "--table=_yoyo_migration", f"--file={path}", *arguments]
    subprocess.run(command, env=environment, check=True)
    with psycopg.connect(world.config.database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = '9999.to-come'")
    before = rows(world.config.database_url)
    with pytest.raises(ConfigError, match=r"newer\.dump is of a newer release, with 9999\.to-come: use the fw of that release"):
        await run(restore, world, path, force=True)
    assert rows(world.config.database_url) == before


async def test_migrates_a_file_of_an_older_release(world: World, make_database: MakeDatabase, tmp_path: Path) -> None:
    old = Config(database_url=make_database())
    migrate(old)
    later = roll_back(old, len(migration_ids()) - 2)[::-1]
    with psycopg.connect(old.database_url, autocommit=True) as connection:
        connection.execute(
            """INSERT INTO users (id, email, email_key, username, hashed_password)
               VALUES (gen_random_uuid(), 'old@example.com', 'old@example.com', 'old', 'x')"""
        )
    said = backup(old, tmp_path / "old.dump", quiet())
    assert f"backed up {sum(len(tables_by_migration()[name]) for name in migration_ids()[:2])} tables" in said
    assert (await run(restore, world, tmp_path / "old.dump", force=True)).endswith(f"; migrated: {', '.join(later)}")
    assert all(status(world.config).values())
    found = rows(world.config.database_url)
    assert (len(found["users"]), found["widgets"]) == (1, [])
    await body(await world.client.get("/api/users/old"))


def test_says_that_there_is_nothing_to_back_up(make_database: MakeDatabase, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is nothing to back up"):
        backup(Config(database_url=make_database()), tmp_path / "none.dump", quiet())
    assert list(tmp_path.iterdir()) == []


def test_replaces_a_file_only_when_told(database_url: str, tmp_path: Path) -> None:
    config, path = Config(database_url=database_url), tmp_path / "all.dump"
    path.write_text("precious")
    with pytest.raises(ConfigError, match=r"all.dump: exists already \(--force replaces it\)"):
        backup(config, path, quiet())
    assert path.read_text() == "precious"
    backup(config, path, quiet(), force=True)
    assert read_contents(path, tables()).migrations == set(migration_ids())
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="is a folder"):
        backup(config, tmp_path, quiet(), force=True)
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        backup(config, tmp_path / "no" / "where", quiet())


def test_leaves_nothing_where_pg_dump_fails(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(database_url=make_database())
    migrate(config)
    monkeypatch.setattr("fw.commands.dump.writing.LOCK_SECONDS", 0.2)
    with psycopg.connect(config.database_url) as connection:
        connection.execute("LOCK TABLE feedback IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ConfigError, match=r"^pg_dump failed: .*timeout"):
            backup(config, tmp_path / "all.dump", quiet())
    assert list(tmp_path.iterdir()) == []


def test_does_not_wait_for_ever_for_a_table_in_use(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(database_url=make_database())
    migrate(config)
    backup(config, tmp_path / "all.dump", quiet())
    monkeypatch.setattr("fw.commands.dump.restoring.LOCK_SECONDS", 1)
    with psycopg.connect(config.database_url) as connection:
        connection.execute("LOCK TABLE feedback IN ACCESS SHARE MODE")
        with pytest.raises(ConfigError, match="in use, and nothing was changed: stop the servers first"):
            restore(config, tmp_path / "all.dump", quiet())


def test_shows_progress_in_one_line_of_a_terminal_and_in_lines_elsewhere(database_url: str, tmp_path: Path) -> None:
    config, terminal, plain = Config(database_url=database_url), Terminal(), io.StringIO()
    with Progress(terminal) as progress:
        backup(config, tmp_path / "a", progress)
    with Progress(plain) as progress:
        backup(config, tmp_path / "b", progress)
    assert "\n" not in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert "backing up users (" in terminal.getvalue()
    assert len(plain.getvalue().splitlines()) == len(tables()) + 1
    assert "\x1b" not in plain.getvalue()


def test_hands_passwords_on_in_the_environment_alone() -> None:
    url = "postgresql://me:hush%40@db.example.com:6543/app?sslmode=require&keepalives=1"
    arguments, environment = connection_settings(url)
    assert arguments == ["--dbname=keepalives=1"]
    expected = {"PGPASSWORD": "hush@", "PGHOST": "db.example.com", "PGPORT": "6543", "PGDATABASE": "app", "PGUSER": "me"}
    assert {name: environment[name] for name in expected} == expected
    assert environment["PGSSLMODE"] == "require"
    with pytest.raises(ConfigError, match="its sslpassword cannot be handed to pg_dump unseen") as caught:
        connection_settings(url + "&sslpassword=hush")
    assert "hush" not in str(caught.value)


def fake_program(folder: Path, name: str, version: str, does: str = "") -> None:
    """Put a program of another version on the PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n{does}\n")
    (folder / name).chmod(0o755)


def test_takes_the_program_that_fits_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = embedded.programs()
    fake_program(tmp_path / "bin", "pg_dump", "19.1 (Debian 19.1-1)")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert fitting_program("pg_dump", 15) == str(own[16] / "pg_dump")
    assert fitting_program("pg_dump", 17) == str(own[18] / "pg_dump")
    assert fitting_program("pg_dump", 19) == str(tmp_path / "bin" / "pg_dump")


@pytest.mark.parametrize(("version", "said"), [(None, "there is no pg_dump"), ("14.2", "there is pg_dump 14 only")])
def test_says_which_program_to_install(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, said: str
) -> None:
    monkeypatch.setattr(embedded, "programs", dict)
    (tmp_path / "bin").mkdir()
    if version:
        fake_program(tmp_path / "bin", "pg_dump", version)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    with pytest.raises(ConfigError) as caught:
        backup(Config(database_url=database_url), tmp_path / "all.dump", quiet())
    assert f"or later is needed, and {said}: install postgresql-client-" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.glob("*.dump")) == []


def test_says_that_a_file_needs_a_newer_program(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, own = Config(database_url=make_database()), embedded.programs()
    migrate(config)
    monkeypatch.setattr(embedded, "programs", lambda: {18: own[18]})
    backup(config, tmp_path / "all.dump", quiet())
    monkeypatch.setattr(embedded, "programs", lambda: {16: own[16]})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="was written by a newer pg_dump; install a newer postgresql-client"):
        restore(config, tmp_path / "all.dump", quiet(), force=True)


@pytest.mark.parametrize("server", [16, 18])
def test_works_between_versions_of_the_programs(
    make_database: MakeDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: int
) -> None:
    """What a newer pg_restore says before the rows is not for an older server; only the rows are taken."""
    config, own = Config(database_url=make_database()), embedded.programs()
    migrate(config)
    monkeypatch.setattr(embedded, "programs", lambda: {server: own[server], 18: own[18]})
    backup(config, tmp_path / "all.dump", quiet())
    restore(config, tmp_path / "all.dump", quiet())


async def test_a_password_is_in_no_argument_and_no_output(
    make_database: MakeDatabase, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through pg_dump's own eyes: a program that notes how it is called, and then is the real one."""
    url = make_database()
    migrate(Config(database_url=url))
    real, parts = fitting_program("pg_dump", 18), urlsplit(url)
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "pg_dump").write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {real} --version\n'
        f'echo "$@" > {tmp_path}/arguments; echo "$PGPASSWORD" > {tmp_path}/password; exec {real} "$@"\n'
    )
    (folder / "pg_dump").chmod(0o755)
    monkeypatch.setattr(embedded, "programs", dict)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    said = io.StringIO()
    user, _, place = parts.netloc.partition("@")
    secret = f"postgresql://{user.partition(':')[0]}:hush-hush@{place}{parts.path}?{parts.query}"
    await asyncio.to_thread(backup, Config(database_url=secret), tmp_path / "all.dump", Progress(said))
    assert (tmp_path / "password").read_text() == "hush-hush\n"
    assert "hush" not in (tmp_path / "arguments").read_text() + said.getvalue()


async def test_the_commands_work_on_the_embedded_database(tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    async with fw("migrate", folder=folder) as process:
        assert await process.ended() == 0, process.output
    for arguments, code, said in (
        (["backup", "all.dump"], 0, f"backed up {len(tables())} tables, "),
        (["backup", "all.dump"], 1, "fw: all.dump: exists already (--force replaces it)"),
        (["restore", "all.dump"], 0, f"restored {len(tables())} tables, 0 rows"),
    ):
        async with fw(*arguments, folder=folder) as process:
            assert await process.ended() == code, process.output
            assert said in process.output
            assert "Traceback" not in process.output


async def test_a_backup_that_is_stopped_leaves_nothing(make_database: MakeDatabase, tmp_path: Path) -> None:
    url = make_database()
    migrate(Config(database_url=url))
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("LOCK TABLE feedback IN ACCESS EXCLUSIVE MODE")
    watcher = await asyncpg.connect(url)
    dumping = "SELECT * FROM pg_stat_activity WHERE application_name = 'pg_dump' AND datname = current_database()"

    async def waits() -> bool:
        return await watcher.fetchval(f"SELECT count(*) > 0 FROM ({dumping}) AS d WHERE wait_event_type = 'Lock'")

    async with fw("backup", "all.dump", folder=tmp_path, DATABASE_URL=url, FW_JWT_SECRET=SECRET) as process:
        await until(waits, "pg_dump to wait")
        assert len(list(tmp_path.glob(".all.dump.*.part"))) == 1
        assert await process.stop() == 1
        assert "fw: interrupted" in process.output
    assert list(tmp_path.glob("*all.dump*")) == []

    async def is_gone() -> bool:
        return await watcher.fetchval(f"SELECT count(*) = 0 FROM ({dumping}) AS d")

    await until(is_gone, "pg_dump to end")
    await transaction.rollback()
    await connection.close()
    await watcher.close()


def test_a_broken_file_is_one_line_and_exit_code_1(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("FW_JWT_SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    Path("broken").write_text("x")
    assert main(["restore", "broken", "--force"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("fw: broken: is broken, not whole, or no file of fw backup (")
