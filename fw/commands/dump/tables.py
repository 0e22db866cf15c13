"""The tables that a backup holds: those that the migrations make."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

import psycopg

from fw.config import ConfigError
from fw.database.statements import MIGRATIONS, migration_ids, statements

RECORD: Final = "_yoyo_migration"
"""The table of the migrations that have been applied."""
LOCK_SECONDS: Final = 20
"""How long a backup or a restore waits for a table that somebody else has locked."""
SHOWN: Final = 5
"""How many names of unknown migrations are told."""
CREATED: Final = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
"""Not the unlogged tables: they hold what a crash may lose, and so may a backup."""


@cache
def tables_by_migration() -> Mapping[str, tuple[str, ...]]:
    """Return which tables each migration of this release makes."""
    return {name: tuple(CREATED.findall((MIGRATIONS / f"{name}.sql").read_text("utf-8"))) for name in migration_ids()}


def tables() -> tuple[str, ...]:
    """Return the tables of this release, in the order in which its migrations make them."""
    return tuple(dict.fromkeys(chain.from_iterable(tables_by_migration().values())))


def existing(connection: psycopg.Connection[Any], names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return the schema and the name of each of these tables, or else of ours, that exists."""
    return psycopg.RawCursor(connection).execute(statements()["backup.tables"], [list(names or tables())]).fetchall()


def refuse_newer(unknown: Iterable[str], what: str) -> None:
    """Raise `ConfigError` if a file or a database has migrations that this release does not know."""
    if names := sorted(unknown):
        raise ConfigError(f"{what} is of a newer release, with {', '.join(names[:SHOWN])}: use the fw of that release")
