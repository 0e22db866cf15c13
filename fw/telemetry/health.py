"""Health: whether the process lives, and whether it can serve."""

import asyncio
from hmac import compare_digest
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from fw import __version__, keys
from fw.accounts.authentication import bearer_token
from fw.database.pool import Database
from fw.database.statements import migration_ids
from fw.docs import answers_tmp as answers
from fw.errors import Problem, Unauthorized, Unavailable
from fw.web.operation import Answer, operation
from fw.web.request import reply

READY_SECONDS: Final = 2.0


@operation("health_alive", Answer(200, answers.Health()), is_alone=True)
async def alive(request: web.Request) -> web.Response:
    """Say that the process lives; nothing else is touched."""
    return reply({"status": "ok", "version": __version__})


@operation("health_ready", Answer(200, answers.Readiness()))
async def ready(request: web.Request) -> web.Response:
    """Say what this process needs to serve, and which of it is missing."""
    database = request.app[keys.DATABASE]
    answers, migrated = await asyncio.gather(database.ping(READY_SECONDS), is_migrated(database))
    stopped = request.app[keys.BACKGROUND].stopped
    checks = {
        "database": answers,
        "migrations": migrated,
        "listener": request.app[keys.LISTENER].is_listening,
        "background": not stopped,
    }
    failed = [name for name, is_well in checks.items() if not is_well]
    if failed:
        which = f" ({', '.join(stopped)})" if stopped else ""
        raise Unavailable(f"Not ready: {', '.join(failed)}{which}.", retry_after=5)
    return reply({"status": "ready", "checks": dict.fromkeys(checks, "ok")})


@operation("health_metrics", Answer(200, media="text/plain"), refuses=(Unauthorized,), optional_token="metrics", is_alone=True)
async def metrics(request: web.Request) -> web.Response:
    """Tell what has been counted, in Prometheus' text format, to who may know."""
    token = request.app[keys.CONFIG].metrics_token
    if token and not compare_digest(bearer_token(request).encode("utf-8", "replace"), token.encode()):
        raise Unauthorized("The token of FW_METRICS_TOKEN is needed.")
    request.app[keys.OBSERVER].flush()
    # With several processes it is read from their files.
    text = await asyncio.to_thread(request.app[keys.METRICS].text)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4, "Cache-Control": "no-store"})


async def is_migrated(database: Database) -> bool:
    try:
        async with asyncio.timeout(READY_SECONDS):
            rows = await database.rows("migrations.applied")
    except (Problem, TimeoutError):
        return False
    return {row["migration_id"] for row in rows} >= set(migration_ids())
