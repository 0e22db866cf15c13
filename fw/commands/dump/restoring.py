"""Restoring a backup, in one transaction."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from fw.commands.dump.file import Contents, read_contents, read_rows
from fw.commands.dump.progress import Progress
from fw.commands.dump.tables import LOCK_SECONDS, existing, refuse_newer, tables, tables_by_migration
from fw.config import Config, ConfigError
from fw.database import migrations
from fw.database.statements import migration_ids, statements

GAP: Final = 1_000_000_000
"""How far a restore moves the cursor of each inbox on: more than any inbox can have changed since the backup."""
BATCH_BYTES: Final = 1 << 18


def restore(config: Config, path: Path, progress: Progress, *, force: bool = False) -> str:
    """Replace everything by what a file holds, and return what was restored, in words.

    All of it is restored or, whatever goes wrong, nothing is changed. Raises `ConfigError`.
    """
    progress.step(f"reading {path}")
    contents = read_contents(path, tables())
    refuse_newer(contents.migrations - set(migration_ids()), str(path))
    refuse_incomplete(path, contents)
    with migrations.connect(config) as connection:
        refuse_newer(migrations.unknown(connection), "the database")
        if not force:
            refuse_filled(connection)
    migrations.migrate(config)
    with migrations.connect(config) as connection:
        try:
            replace_rows(connection, path, contents, progress, force=force)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            raise ConfigError("the database is in use, and nothing was changed: stop the servers first") from None
        except psycopg.Error as error:
            raise ConfigError(f"restoring failed, and nothing was changed: {migrations.one_line(error)}") from None
    later = migrations.migrate(config)
    done = f"restored {len(contents.rows)} tables, {contents.total:,} rows"
    return f"{done}; migrated: {', '.join(later)}" if later else done


def refuse_incomplete(path: Path, contents: Contents) -> None:
    """Raise `ConfigError` if a file lacks a migration, or a table of one: pg_restore skips an entry that it cannot read."""
    release = migration_ids()[: len(contents.migrations)]
    made = {table for name in release for table in tables_by_migration()[name]}
    missing = set(release) - contents.migrations or made - contents.rows.keys()
    if missing:
        raise ConfigError(f"{path}: is broken, and nothing was changed: {', '.join(sorted(missing))} is not in it")


def refuse_filled(connection: psycopg.Connection[Any]) -> None:
    """Raise `ConfigError` if any of our tables has a row."""
    for _, table in existing(connection):
        if connection.execute(sql.SQL("TABLE {} LIMIT 1").format(sql.Identifier(table))).fetchone():
            raise ConfigError(f"the database is not empty ({table} has rows): --force replaces everything in it")


def replace_rows(
    connection: psycopg.Connection[Any], path: Path, contents: Contents, progress: Progress, *, force: bool
) -> None:
    """Replace all rows of our tables by those of a file, in one transaction."""
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL client_encoding = 'UTF8'")
        migrations.step_back(connection, contents.migrations)
        names = sql.SQL(", ").join(sql.Identifier(*name) for name in existing(connection))
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))
        if not force:
            # Somebody may have written rows since the first look.
            refuse_filled(connection)
        connection.execute(sql.SQL("TRUNCATE {}").format(names))
        copy_rows(connection, path, contents, progress)
        if "inboxes" in contents.rows:
            psycopg.RawCursor(connection).execute(statements()["backup.begin_anew"], [GAP])


def copy_rows(connection: psycopg.Connection[Any], path: Path, contents: Contents, progress: Progress) -> None:
    """Copy the rows of our tables from a file."""
    begun = 0
    with closing(read_rows(path)) as lines:
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
    """Join lines to pieces of a size that is worth sending, each with the number of lines so far."""
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
