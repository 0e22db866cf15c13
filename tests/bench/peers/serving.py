"""How every peer is run: on a port that the kernel picks, in one process, on uvloop, without an access log."""

import os
import socket
from typing import Any, Final

import jwt
import uvicorn
import uvloop
from aiohttp import web

from fw.accounts.tokens import ALGORITHM, AUDIENCE
from fw.config import Config

POOL: Final = Config().db_pool
"""As many connections as the service has."""
BACKLOG: Final = 1024
PAGE: Final = 20


def database_url() -> str:
    return os.environ["DATABASE_URL"]


def listen() -> socket.socket:
    """Listen before anything else is ready: who connects early waits, and is not refused."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    print(f"listens on http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
    return sock


def run_aiohttp(app: web.Application) -> None:
    web.run_app(app, sock=listen(), backlog=BACKLOG, access_log=None, print=None, loop=uvloop.new_event_loop())


def run_asgi(app: Any) -> None:
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="warning", access_log=False, backlog=BACKLOG)
    uvicorn.Server(config).run(sockets=[listen()])


def user_of(authorization: str) -> str:
    """Return whose token this is. Raises `jwt.PyJWTError`."""
    token = authorization.removeprefix("Bearer ")
    claims = jwt.decode(token, os.environ["FW_JWT_SECRET"], algorithms=[ALGORITHM], audience=AUDIENCE)
    return str(claims["sub"])
