"""What the framework itself can do: it parses the same body, returns as many bytes, and stores nothing."""

import orjson
from aiohttp import web

from tests.bench.peers.serving import run_aiohttp

STORED = b'{"id":"01980c2e-7a00-7000-8000-000000000000","created_at":"2026-01-31T12:00:00.123000Z"}'


async def submit(request: web.Request) -> web.Response:
    orjson.loads(await request.read())
    return web.Response(body=STORED, status=201, content_type="application/json")


if __name__ == "__main__":
    bare = web.Application()
    bare.router.add_post("/api/feedback/{username}", submit)
    run_aiohttp(bare)
