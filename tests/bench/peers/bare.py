"""The limit of the framework: aiohttp handlers that parse the same body and return the same bytes, and do nothing else."""

import sys
from pathlib import Path

import orjson
import uvloop
from aiohttp import web


async def submit(request: web.Request) -> web.Response:
    orjson.loads(await request.read())
    return web.Response(body=request.app[CREATED], status=201, content_type="application/json")


async def list_inbox(request: web.Request) -> web.Response:
    return web.Response(body=request.app[PAGE], content_type="application/json")


CREATED = web.AppKey("created", bytes)
PAGE = web.AppKey("page", bytes)


def main(port: int, created: str, page_file: str) -> None:
    app = web.Application()
    app[CREATED] = created.encode()
    app[PAGE] = Path(page_file).read_bytes()
    app.router.add_post("/api/feedback/{username}", submit)
    app.router.add_get("/api/feedback", list_inbox)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
