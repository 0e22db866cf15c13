"""`fw backup` and `fw restore`: all rows in one file, in pg_dump's custom format, and back again, all or nothing.

The file holds rows alone. Tables are made by the migrations, whose names are in the file too; so an older file is brought up
to this release, a newer one is known as such, and nothing that stands in a file is ever run as SQL.
"""

import os
import re
import select
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, Final, Self

import psycopg
from psycopg import sql

from fw.commands.archive import RECORD, Contents, complaint, connection_settings, copied, inspect, program
from fw.config import Config, ConfigError
from fw.database import migrations
from fw.database.statements import MIGRATIONS, migration_ids, statements
from fw.terminal import printable

GAP: Final = 1_000_000_000
"""How far a restore moves each inbox on: more than any inbox can have changed since the backup."""
LOCK_SECONDS: Final = 20
"""How long a table may be in somebody else's hands."""
TICK_SECONDS: Final = 0.2
BATCH_BYTES: Final = 1 << 18
SHOWN: Final = 5
"""How many names of what is not known here are told."""

CREATED: Final = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
"""Unlogged tables hold what a crash may forget: so may a backup."""
DUMPING: Final = re.compile(r'dumping contents of table "(?:.*\.)?(\w+)"')


class Progress:
    """Tells how far it is: on a terminal in one line that is written over, elsewhere in a line for each table."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What comes next has the line for itself.
        self.more("")

    def step(self, text: str) -> None:
        """Begin a new step."""
        text = printable(text)
        self._write(f"\r\x1b[K{text}" if self._is_terminal else f"{text}\n")

    def more(self, text: str) -> None:
        """Tell more of the same step, where that takes no further line."""
        if self._is_terminal:
            self.step(text)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


@cache
def made() -> Mapping[str, tuple[str, ...]]:
    """List which tables each migration of this release makes."""
    return {name: tuple(CREATED.findall((MIGRATIONS / f"{name}.sql").read_text("utf-8"))) for name in migration_ids()}


def tables() -> tuple[str, ...]:
    """List the tables of this release, as its migrations make them."""
    return tuple(dict.fromkeys(chain.from_iterable(made().values())))


def backup(config: Config, path: Path, progress: Progress, *, force: bool = False) -> str:
    """Write everything to a file that only its owner may read, and return what was written, in words.

    It is one snapshot, taken while servers run, and stands under its name only when it is whole. Raises `ConfigError`.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: is not a file")
    if path.exists() and not force:
        raise ConfigError(f"{path}: exists already (--force replaces it)")
    with migrations.connect(config) as connection:
        refuse_newer(migrations.unknown(connection), "the database")
        names = stored(connection, (*tables(), RECORD))
        version = connection.info.server_version // 10000
    if len(names) < 2:
        raise ConfigError("the database has no tables of FeedbackWave: there is nothing to back up")
    command = [program("pg_dump", version), *("--format=custom", "--data-only", "--no-password", "--verbose", "--strict-names")]
    command += [f"--lock-wait-timeout={LOCK_SECONDS}s", *(f'--table="{schema}"."{table}"' for schema, table in names)]
    with made_aside(path, force=force) as part:
        arguments, environment = connection_settings(config.direct_url)
        follow([*command, *arguments, f"--file={part}"], environment, Dumping(part, len(names), progress))
        size = part.stat().st_size
    return f"backed up {len(names) - 1} tables, {in_words(size)}, to {path}"


def stored(connection: psycopg.Connection[Any], names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """List which of these tables, else of ours, there are: their schema and their name."""
    return psycopg.RawCursor(connection).execute(statements()["backup.tables"], [list(names or tables())]).fetchall()


def in_words(size: float) -> str:
    """Tell a number of bytes as people do."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def refuse_newer(unknown: Iterable[str], what: str) -> None:
    if names := sorted(unknown):
        raise ConfigError(f"{what} is of a newer release, with {', '.join(names[:SHOWN])}: use the fw of that release")


def refuse_incomplete(path: Path, contents: Contents) -> None:
    """Raise `ConfigError` where a file lacks what belongs to what it has: pg_restore passes over what it does not know."""
    release = migration_ids()[: len(contents.migrations)]
    missing = set(release) - contents.migrations or {name for step in release for name in made()[step]} - contents.rows.keys()
    if missing:
        raise ConfigError(f"{path}: is broken, and nothing was changed: {', '.join(sorted(missing))} is not in it")


@contextmanager
def made_aside(path: Path, *, force: bool) -> Iterator[Path]:
    """Give an empty file beside `path`, which takes its name at the end, or is gone."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.touch(mode=0o600, exist_ok=False)
        try:
            yield part
            give_name(part, path, force=force)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from None


def give_name(part: Path, path: Path, *, force: bool) -> None:
    try:
        if not force:
            # Unlike a rename it fails where somebody else has made one in the meantime.
            path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        # This file system has no links.
        force = True
    if force:
        part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Dumping:
    """Makes progress of what pg_dump says, and keeps what went wrong."""

    def __init__(self, part: Path, count: int, progress: Progress) -> None:
        self._part = part
        self._count = count
        self._progress = progress
        self._text = "backing up"
        self._begun = 0
        self.trouble = ""

    def hear(self, line: str) -> None:
        """Take a line, or an empty one when none has come for a while."""
        if found := DUMPING.search(line):
            self._begun += 1
            self._text = f"backing up {found[1]} ({self._begun} of {self._count})"
            self._progress.step(self._text)
        elif line:
            self.trouble = self.trouble or complaint(line)
        else:
            self._progress.more(f"{self._text}, {in_words(self._part.stat().st_size)}")


def follow(command: list[str], environment: Mapping[str, str], dumping: Dumping) -> None:
    """Run pg_dump to its end. Raises `ConfigError` with what it says."""
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            for line in lines_or_ticks(process.stderr):
                dumping.hear(line)
        except BaseException:
            # It takes the statement back that it waits for; killed, it would leave the server waiting.
            process.terminate()
            raise
    if process.returncode:
        raise ConfigError(f"pg_dump failed: {dumping.trouble or f'exit code {process.returncode}'}")


def lines_or_ticks(stream: IO[bytes] | None) -> Iterator[str]:
    """Give each line, and an empty one whenever none comes for a while."""
    assert stream
    rest = b""
    while True:
        if not select.select([stream], [], [], TICK_SECONDS)[0]:
            yield ""
            continue
        chunk = os.read(stream.fileno(), 1 << 16)
        if not chunk:
            return
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole if line)


def restore(config: Config, path: Path, progress: Progress, *, force: bool = False) -> str:
    """Replace everything by what a file holds, and return what was restored, in words.

    All of it happens or, whatever goes wrong, nothing. Raises `ConfigError`.
    """
    progress.step(f"reading {path}")
    contents = inspect(path, tables())
    refuse_newer(contents.migrations - set(migration_ids()), str(path))
    refuse_incomplete(path, contents)
    with migrations.connect(config) as connection:
        refuse_newer(migrations.unknown(connection), "the database")
        if not force:
            refuse_filled(connection)
    migrations.migrate(config)
    with migrations.connect(config) as connection:
        try:
            replace(connection, path, contents, progress, force=force)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            raise ConfigError("the database is in use, and nothing was changed: stop the servers first") from None
        except psycopg.Error as error:
            raise ConfigError(f"restoring failed, and nothing was changed: {migrations.one_line(error)}") from None
    later = migrations.migrate(config)
    done = f"restored {len(contents.rows)} tables, {contents.total:,} rows"
    return f"{done}; migrated: {', '.join(later)}" if later else done


def refuse_filled(connection: psycopg.Connection[Any]) -> None:
    """Raise `ConfigError` where any of our tables has a row."""
    for _, table in stored(connection):
        if connection.execute(sql.SQL("TABLE {} LIMIT 1").format(sql.Identifier(table))).fetchone():
            raise ConfigError(f"the database is not empty ({table} has rows): --force replaces everything in it")


def replace(connection: psycopg.Connection[Any], path: Path, contents: Contents, progress: Progress, *, force: bool) -> None:
    """Put the rows of a file in the place of all there are, in one transaction."""
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL client_encoding = 'UTF8'")
        migrations.step_back(connection, contents.migrations)
        names = sql.SQL(", ").join(sql.Identifier(*name) for name in stored(connection))
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))
        if not force:
            # Somebody may have come since it was empty.
            refuse_filled(connection)
        connection.execute(sql.SQL("TRUNCATE {}").format(names))
        load(connection, path, contents, progress)
        if "inboxes" in contents.rows:
            psycopg.RawCursor(connection).execute(statements()["backup.begin_anew"], [GAP])


def load(connection: psycopg.Connection[Any], path: Path, contents: Contents, progress: Progress) -> None:
    """Copy the rows of our tables from a file."""
    begun = 0
    with closing(copied(path)) as lines:
        for head, rows in groupby(lines, key=itemgetter(0)):
            if head.table not in contents.rows:
                continue
            begun += 1
            text = f"restoring {head.table} ({begun} of {len(contents.rows)}), {contents.rows[head.table]:,} rows"
            progress.step(text)
            columns = sql.SQL(", ").join(map(sql.Identifier, head.columns))
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(head.table), columns)
            with connection.cursor().copy(statement) as copy:
                for done, batch in batches(line for _, line in rows if line is not None):
                    copy.write(batch)
                    progress.more(f"{text}, {done:,} done")


def batches(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Put lines together to pieces of a size that is worth sending, each with how many lines there were so far."""
    batch: list[bytes] = []
    size = done = 0
    for line in lines:
        batch.append(line)
        size += len(line)
        done += 1
        if size >= BATCH_BYTES:
            yield done, b"".join(batch)
            batch, size = [], 0
    if batch:
        yield done, b"".join(batch)
