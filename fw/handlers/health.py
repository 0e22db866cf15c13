"""Health: whether the process lives, and whether it can serve."""

import asyncio
from typing import Final

from aiohttp import web

from fw import __version__, keys
from fw.database import Database
from fw.errors import Problem, Unavailable
from fw.payload import reply
from fw.statements import migration_ids

READY_SECONDS: Final = 2.0


async def alive(request: web.Request) -> web.Response:
    """Say that the process lives; nothing else is touched."""
    return reply({"status": "ok", "version": __version__})


async def ready(request: web.Request) -> web.Response:
    """Say what this process needs to serve, and which of it is missing."""
    database = request.app[keys.DATABASE]
    answers, migrated = await asyncio.gather(database.ping(READY_SECONDS), is_migrated(database))
    checks = {"database": answers, "migrations": migrated, "listener": request.app[keys.LISTENER].is_listening}
    failed = [name for name, is_well in checks.items() if not is_well]
    if failed:
        raise Unavailable(f"Not ready: {', '.join(failed)}.", retry_after=5)
    return reply({"status": "ready", "checks": dict.fromkeys(checks, "ok")})


async def is_migrated(database: Database) -> bool:
    try:
        async with asyncio.timeout(READY_SECONDS):
            rows = await database.rows("health.applied_migrations")
    except (Problem, TimeoutError):
        return False
    return {row["migration_id"] for row in rows} >= set(migration_ids())
