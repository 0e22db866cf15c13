"""Migrations: plain SQL, applied by yoyo, by one process at a time."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg

from fw.config import Config, ConfigError
from fw.database import distribution, statements

log = logging.getLogger("fw.database.migrations")

LOCK: Final = 0x66775F6D6967
"""The key of the session lock that migrations run under ("fw_mig")."""
CONNECT_SECONDS: Final = 10
LOCK_SECONDS: Final = 120
LEAST_VERSION: Final = 150000
IN_ONE_CONNECTION: Final = "SET LOCAL citus.multi_shard_modify_mode = 'sequential'"
"""Else Citus refuses statements on what others have just made. A server without Citus takes the setting as well."""


def migrate(config: Config) -> list[str]:
    """Apply the missing migrations and return their ids. Raises `ConfigError` if the database cannot be reached or used."""
    with connect(config) as connection:
        if not pending(connection):
            return []
        alone = distribution.alone(connection)
    with _yoyo(config) as (backend, migrations):
        missing = backend.to_apply(migrations)
        for migration in missing:
            # In one transaction with its own record: a process that is killed leaves both or neither.
            with backend.transaction():
                backend.execute(IN_ONE_CONNECTION)
                migration.process_steps(backend, "apply")
                backend.mark_one(migration)
            log.info("migrated", extra={"migration": migration.id})
        with connect(config) as connection:
            distribution.complete_new(connection, alone)
        return [migration.id for migration in missing]


def roll_back(config: Config, count: int) -> list[str]:
    """Take back the newest `count` migrations and return their ids. Raises `ConfigError`."""
    with _yoyo(config) as (backend, migrations):
        newest = list(backend.to_rollback(migrations))[:count]
        for migration in newest:
            with backend.transaction():
                backend.execute(IN_ONE_CONNECTION)
                migration.process_steps(backend, "rollback")
                backend.unmark_one(migration)
            log.info("rolled back", extra={"migration": migration.id})
        return [migration.id for migration in newest]


def status(config: Config) -> dict[str, bool]:
    """Return whether each migration of this release is applied, by its id."""
    with connect(config) as connection:
        missing = pending(connection)
    return {migration_id: migration_id not in missing for migration_id in statements.migration_ids()}


def pending(connection: psycopg.Connection[Any]) -> set[str]:
    """Return the migrations of this release that have not been applied."""
    return set(statements.migration_ids()) - applied(connection)


def unknown(connection: psycopg.Connection[Any]) -> set[str]:
    """Return the applied migrations that this release does not know: those of a newer release."""
    return applied(connection) - set(statements.migration_ids())


def applied(connection: psycopg.Connection[Any]) -> set[str]:
    """Return the migrations that have been applied, whatever their release."""
    if connection.execute("SELECT to_regclass('_yoyo_migration')").fetchone() == (None,):
        return set()
    return {row[0] for row in connection.execute("SELECT migration_id FROM _yoyo_migration")}


def step_back(connection: psycopg.Connection[Any], kept: Collection[str]) -> None:
    """Take back all migrations but the `kept` ones, newest first, within the caller's transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    for migration_id in sorted(applied(connection) - set(kept), reverse=True):
        connection.execute((statements.MIGRATIONS / f"{migration_id}.rollback.sql").read_bytes())
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id = %s", [migration_id])


@contextmanager
def connect(config: Config) -> Iterator[psycopg.Connection[Any]]:
    """Connect past any pooler, to a server that fits. Raises `ConfigError`."""
    try:
        connection = psycopg.connect(config.direct_url, connect_timeout=CONNECT_SECONDS, autocommit=True)
    except (psycopg.Error, UnicodeError) as error:
        raise ConfigError(f"DATABASE_URL: {one_line(error)}") from None
    with connection:
        if connection.info.server_version < LEAST_VERSION:
            raise ConfigError(f"DATABASE_URL: PostgreSQL 15 or later is needed, not {connection.info.server_version // 10000}")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise ConfigError(f"DATABASE_URL: the database must be in UTF8, not {encoding}")
        yield connection


def one_line(error: Exception) -> str:
    """Return the first line that matters of a driver's error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "Multiple connection attempts" not in line]
    return lines[0] if lines else type(error).__name__


@contextmanager
def _yoyo(config: Config) -> Iterator[tuple[Any, Any]]:
    """Give yoyo's backend and our migrations, under a lock that ends with this process. Raises `ConfigError`.

    yoyo's own lock is a row, which a killed process leaves behind for ever. Nobody else migrates under ours, so a row is stale.
    """
    from yoyo import get_backend, read_migrations

    url = config.direct_url.replace("postgresql://", "postgresql+psycopg://", 1)
    try:
        with connect(config) as lock:
            lock.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
            lock.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            with get_backend(url) as backend:
                backend.break_lock()
                backend.ensure_internal_schema_updated()
                yield backend, read_migrations(str(statements.MIGRATIONS))
    except psycopg.Error as error:
        raise ConfigError(f"migration failed: {one_line(error)}") from error
