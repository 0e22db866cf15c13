"""The shortest way to the disk: aiohttp and asyncpg, one plain INSERT a request, nothing shared between requests."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

import asyncpg
import orjson
from aiohttp import web

from tests.bench.peers.serving import POOL, database_url, run_aiohttp

INSERT: Final = """
    INSERT INTO feedback (user_id, id, message, created_at, ip_address, metadata)
    SELECT u.id, $2, $3, $4, $5::text::inet, $6::text::jsonb
    FROM users AS u
    WHERE u.username = $1
"""
DATABASE: Final = web.AppKey("database", asyncpg.Pool)


async def connect(app: web.Application) -> AsyncIterator[None]:
    async with asyncpg.create_pool(database_url(), min_size=POOL, max_size=POOL, reset=keep) as app[DATABASE]:
        yield


async def keep(connection: asyncpg.Connection) -> None:
    """Spare the round trip of asyncpg's own reset, as the service does: nothing here changes a connection's state."""


async def submit(request: web.Request) -> web.Response:
    body = orjson.loads(await request.read())
    feedback_id, now = uuid.uuid4(), datetime.now(UTC)
    done = await request.app[DATABASE].execute(
        INSERT,
        request.match_info["username"],
        feedback_id,
        body["message"],
        now,
        request.remote,
        orjson.dumps(body["metadata"]).decode(),
    )
    if done != "INSERT 0 1":
        raise web.HTTPNotFound
    answer = orjson.dumps({"id": feedback_id, "created_at": now}, option=orjson.OPT_UTC_Z)
    return web.Response(body=answer, status=201, content_type="application/json")


if __name__ == "__main__":
    plain = web.Application()
    plain.cleanup_ctx.append(connect)
    plain.router.add_post("/api/feedback/{username}", submit)
    run_aiohttp(plain)
