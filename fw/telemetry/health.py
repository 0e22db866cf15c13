"""Health: whether the process lives, and whether it can serve."""

import asyncio
from hmac import compare_digest
from typing import Final

from aiohttp import web
from marshmallow import fields, validate
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from fw import __version__
from fw.accounts.authentication import bearer_token
from fw.background import BACKGROUND
from fw.config import CONFIG
from fw.database.listener import LISTENER
from fw.database.pool import Database
from fw.database.rotation import ASKER, itself
from fw.database.statements import migration_ids
from fw.errors import Problem, Unauthorized, Unavailable
from fw.telemetry.access_log import REQUEST_LOG
from fw.telemetry.metrics import METRICS
from fw.web.operation import Answer, operation
from fw.web.response import reply
from fw.web.schemas import Output

READY_SECONDS: Final = 2.0
FRESH_SECONDS: Final = 0.5
"""How long what was found is told to others who ask."""


class DatabaseCheck:
    """Looks whether the database answers, and whether it has all migrations: once for all who ask at about the same time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")
        self._found = False, False

    async def look(self) -> tuple[bool, bool]:
        async with self._looking:
            clock = asyncio.get_running_loop().time
            if clock() - self._looked_at > FRESH_SECONDS:
                # Who takes the process out of service must not be kept waiting by those whom it serves.
                ASKER.set(itself)
                self._found = await asyncio.gather(self._database.ping(READY_SECONDS), self._is_migrated())
                self._looked_at = clock()
            return self._found

    async def _is_migrated(self) -> bool:
        try:
            async with asyncio.timeout(READY_SECONDS):
                rows = await self._database.rows("migrations.applied")
        except (Problem, TimeoutError):
            return False
        return {row["migration_id"] for row in rows} >= set(migration_ids())


DATABASE_CHECK: Final[web.AppKey[DatabaseCheck]] = web.AppKey("database_check")


class Health(Output):
    component = "Health"
    status = fields.String(required=True, validate=validate.Equal("ok"))
    version = fields.String(required=True)


class Readiness(Output):
    component = "Readiness"
    status = fields.String(required=True, validate=validate.Equal("ready"))
    checks = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


@operation("health_alive", Answer(200, Health()), is_alone=True)
async def alive(request: web.Request) -> web.Response:
    """Say that the process lives; nothing else is checked."""
    return reply({"status": "ok", "version": __version__})


@operation("health_ready", Answer(200, Readiness()))
async def ready(request: web.Request) -> web.Response:
    """Say whether the process can serve, or what it lacks."""
    answers, is_migrated = await request.app[DATABASE_CHECK].look()
    stopped = request.app[BACKGROUND].stopped
    checks = {
        "database": answers,
        "migrations": is_migrated,
        "listener": request.app[LISTENER].is_listening,
        "background": not stopped,
    }
    failed = [name for name, is_well in checks.items() if not is_well]
    if failed:
        which = f" ({', '.join(stopped)})" if stopped else ""
        raise Unavailable(f"Not ready: {', '.join(failed)}{which}.", retry_after=5)
    return reply({"status": "ready", "checks": dict.fromkeys(checks, "ok")})


@operation(
    "health_metrics", Answer(200, media="text/plain"), refuses=(Unauthorized,), optional_tokens=("metrics",), is_alone=True
)
async def metrics(request: web.Request) -> web.Response:
    """Show the metrics in Prometheus' text format."""
    token = request.app[CONFIG].metrics_token
    if token and not compare_digest(bearer_token(request).encode("utf-8", "replace"), token.encode()):
        raise Unauthorized("The token of FW_METRICS_TOKEN is needed.")
    request.app[REQUEST_LOG].flush()
    text = await request.app[METRICS].next_text()
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4, "Cache-Control": "no-store"})
