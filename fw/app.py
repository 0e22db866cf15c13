"""The only assembler: which parts there are, and who gets which."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from functools import cache
from typing import Any, Final

from aiohttp import hdrs, web

from fw import keys
from fw.accounts.passwords import Passwords
from fw.accounts.tokens import Tokens
from fw.background import Background
from fw.config import Config
from fw.database.bus import make_bus
from fw.database.listener import Listener
from fw.database.pool import Database
from fw.database.purge import Purge
from fw.docs.openapi import Description
from fw.inbox.feed import Feed
from fw.inbox.hub import Hub
from fw.inbox.intake import Intake
from fw.inbox.newcomers import Newcomers
from fw.inbox.readers import Readers
from fw.routes import ROUTES, Access, Origins
from fw.telemetry.access_log import Observer
from fw.telemetry.metrics import Metrics
from fw.telemetry.sentry import Tracking
from fw.web import cors
from fw.web import envelope as middleware
from fw.web.limits import Limits
from fw.web.turns import Turns
from fw.widgets.counters import Counters

BODY_BYTES: Final = 64 * 1024
REQUESTS_AT_ONCE: Final = 8
"""Requests of one user under way in one process: fewer than there are connections, so that some are left for the others."""
SEARCHES_AT_ONCE: Final = 2


def create_app(config: Config) -> web.Application:
    """Wire the whole application. Parts open in this order when it starts, and close in the reverse one."""
    app = web.Application(middlewares=[middleware.envelope, middleware.authenticate], client_max_size=BODY_BYTES)
    app[keys.CONFIG] = config
    background = app[keys.BACKGROUND] = Background()
    database = app[keys.DATABASE] = Database(config)
    feed = app[keys.FEED] = Feed(database)
    hub = app[keys.HUB] = Hub(database, feed, background)
    readers = app[keys.READERS] = Readers(database, background)
    newcomers = app[keys.NEWCOMERS] = Newcomers()
    turns = app[keys.TURNS] = Turns("requests-at-once", max(1, min(config.db_pool - 2, REQUESTS_AT_ONCE)))
    searches = app[keys.SEARCHES] = Turns("searches-at-once", SEARCHES_AT_ONCE)
    app[keys.TOKENS] = Tokens(config, database)
    passwords = app[keys.PASSWORDS] = Passwords(config)
    limits = app[keys.LIMITS] = Limits(config, database)
    bus = app[keys.BUS] = make_bus(config)
    listener = app[keys.LISTENER] = Listener(bus, hub, background)
    intake = app[keys.INTAKE] = Intake(database, bus)
    app[keys.COUNTERS] = Counters(database, background)
    app[keys.METRICS] = Metrics(database, intake, hub, listener, passwords, limits, newcomers, background, (turns, searches))
    observer = app[keys.OBSERVER] = Observer(app[keys.METRICS], background)
    app[keys.DESCRIPTION] = Description(ROUTES)
    parts = (
        Tracking(config),
        observer,
        database,
        passwords,
        limits,
        bus,
        readers,
        hub,
        listener,
        intake,
        app[keys.COUNTERS],
        Purge(database, background),
    )
    app.cleanup_ctx.extend(context(part) for part in parts)
    app.on_response_prepare.append(middleware.add_headers)
    app.on_shutdown.append(end_waits)
    add_routes(app, config)
    return app


def context(part: AbstractAsyncContextManager[Any]) -> Callable[[web.Application], AsyncIterator[None]]:
    """Open a part with the application and close it with it."""

    async def open_and_close(app: web.Application) -> AsyncIterator[None]:
        async with part:
            yield

    return open_and_close


async def end_waits(app: web.Application) -> None:
    app[keys.HUB].close()


@cache
def exact(path: str) -> str:
    """Keep a path's parameters from taking the literals that stand in their place in other paths, with methods of their own."""
    segments = path.split("/")
    for place, segment in enumerate(segments):
        literals = {
            other[place]
            for other in (line.path.split("/") for line in ROUTES)
            if len(other) == len(segments) and other[:place] + other[place + 1 :] == segments[:place] + segments[place + 1 :]
        } - {segment}
        if segment.startswith("{") and literals:
            segments[place] = f"{segment[:-1]}:(?!(?:{'|'.join(sorted(map(re.escape, literals)))})(?:/|$))[^{{}}/]+}}"
    return "/".join(segments)


def add_routes(app: web.Application, config: Config) -> None:
    """Register the URL table, with who may call each route, and from where."""
    access: dict[web.AbstractRoute, Access] = {}
    origins: dict[web.ResourceRoute, Origins] = {}
    for line in ROUTES:
        resource = app.router.add_resource(exact(line.path))
        for method in (line.method, hdrs.METH_HEAD) if line.method == hdrs.METH_GET else (line.method,):
            route = resource.add_route(method, line.handler, expect_handler=middleware.meet_expectation)
            access[route], origins[route] = line.access, line.origins
    app[keys.ACCESS] = access
    cors.set_up(app, origins, config)
