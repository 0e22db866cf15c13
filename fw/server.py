"""One server process: uvloop, aiohttp, and a graceful end."""

import asyncio
import ctypes
import gc
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

import uvloop
from aiohttp import web

from fw import __version__
from fw.accounts.login import email_key
from fw.accounts.passwords import common_passwords
from fw.app import create_app
from fw.background import BACKGROUND, Task
from fw.config import CONFIG, Config
from fw.inbox import search
from fw.telemetry.access_log import REQUEST_LOG, AccessLog
from fw.web.assets import pack_all
from fw.web.connections import ProblemServer
from fw.web.descriptors import Descriptors
from fw.web.fields import time_zones
from fw.web.heads import plain
from fw.web.protocol import LINGER_SECONDS
from fw.web.templates import templates

log = logging.getLogger("fw.server")

KEEPALIVE_SECONDS: Final = 100.0
"""Longer than the 90 s after which Heroku's router closes an idle connection: the router has to close it first."""
SWEEP_SECONDS: Final = 1.0
KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
"""After how many seconds of silence the kernel probes a client, every how many seconds, and how many times (tcp(7))."""
SHUTDOWN_SECONDS: Final = 5.0
"""How long requests may still take when the server stops; aiohttp waits at most twice as long."""
BACKLOG: Final = 1024
UNSENT_BYTES: Final = 128 * 1024
"""How much of a response the kernel holds that is not sent yet: by default some megabytes for each client that stalls."""
MMAP_THRESHOLD: Final = -3
"""`M_MMAP_THRESHOLD` of mallopt(3)."""
LONG_BYTES: Final = 256 * 1024


class Runner(web.AppRunner):
    """Runs an application behind `ProblemServer`."""

    _sweeper: Task | None = None

    async def cleanup(self) -> None:
        try:
            await super().cleanup()
        finally:
            if self._sweeper:
                await self._sweeper.__aexit__()

    async def shutdown(self) -> None:
        await super().shutdown()
        if isinstance(self._server, ProblemServer):
            await self._server.receive_the_rest(SHUTDOWN_SECONDS)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        make_request = made.request_factory
        server = ProblemServer(
            made.request_handler,
            request_factory=lambda message, body, handler, *rest: make_request(
                plain(message, body, handler.head_size), body, handler, *rest
            ),
            handler_cancellation=made.handler_cancellation,
            loop=asyncio.get_running_loop(),
            descriptors=Descriptors(self.app[CONFIG].db_pool),
            **made._kwargs,
        )
        self._sweeper = self.app[BACKGROUND].every("connections", lambda: SWEEP_SECONDS, server.sweep)
        await self._sweeper.__aenter__()
        return server


def make_runner(config: Config) -> Runner:
    """Make the application and its runner, which is not set up yet."""
    load_tables()
    app = create_app(config)
    return Runner(
        app,
        # aiohttp only hands it to the class below, which takes a `RequestLog`.
        access_log=cast(logging.Logger, app[REQUEST_LOG]),
        access_log_class=AccessLog,
        # Else aiohttp decompresses bodies before any check of the request, at any path: a megabyte takes a second of the
        # event loop's time.
        auto_decompress=False,
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGER_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )


def load_tables() -> None:
    """Load tables that are made at their first use, which would block the event loop: 30 ms for an international domain."""
    email_key("you@bücher.example")
    search.pattern("x")
    common_passwords()
    time_zones()
    templates()
    pack_all()


def tune_memory() -> None:
    """Have the garbage collector skip all present objects and run less often, and glibc give back the memory of long responses.

    A request leaves hardly any cycles: that saves a twentieth of a submission's time. And glibc keeps the memory of all long
    blocks once it has freed one: after 240 pages at once the process kept 450 MB. Other C libraries do without that word.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(2000, 10, 10)
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, LONG_BYTES)


def bind(host: str, port: int) -> socket.socket:
    """Bind the address, before anything else is started. Raises `OSError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit all of these. TCP_USER_TIMEOUT is not set: it would close slow readers too.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in KEEP_ALIVE:
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def run(config: Config, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests that are under way."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, sock, ready))


async def _serve(config: Config, sock: socket.socket, ready: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = make_runner(config)
    await runner.setup()
    try:
        tune_memory()
        await web.SockSite(runner, sock, backlog=BACKLOG).start()
        log.info("started", extra={"version": __version__})
        ready()
        await stop.wait()
        log.info("stopping")
    finally:
        await runner.cleanup()
    log.info("stopped")
