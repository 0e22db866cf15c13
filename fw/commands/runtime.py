"""What commands run on: a database, and a signal that unwinds them."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from fw.config import Config, ConfigError
from fw.database.kept_secret import kept_secret
from fw.database.pool import Database


@contextmanager
def complete_config(config: Config) -> Iterator[Config]:
    """Complete a configuration that names no database with the embedded one and its secret. Raises `ConfigError`."""
    if config.database_url:
        if not config.jwt_secrets:
            raise ConfigError("FW_JWT_SECRET: is required with DATABASE_URL (try: openssl rand -hex 32)")
        yield config
        return
    with embedded_database(config) as found:
        yield replace(found, jwt_secrets=config.jwt_secrets or (kept_secret(config.data_dir),))


@contextmanager
def embedded_database(config: Config) -> Iterator[Config]:
    """Run the embedded database and give a configuration that names it. Raises `ConfigError`."""
    from fw.database.embedded import postgres

    with postgres(config.data_dir) as url:
        yield replace(config, database_url=url, is_embedded=True)


def on_database(config: Config, work: Callable[[Database], Awaitable[object]]) -> None:
    """Do some work on the database, once it is migrated."""
    from fw.database import migrations

    async def with_database() -> None:
        async with Database(config) as database:
            await work(database)

    migrations.migrate(config)
    asyncio.run(with_database())


def unwind_on_sigterm() -> None:
    """Have SIGTERM unwind as Ctrl-C does: what was started is stopped, and what is half made is removed."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
