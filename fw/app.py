"""Makes the application: which parts there are, and which part gets which others."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from aiohttp import web

from fw.accounts.authentication import authenticate
from fw.accounts.passwords import PASSWORDS, Passwords
from fw.accounts.tokens import TOKENS, Tokens
from fw.background import BACKGROUND, Background
from fw.config import CONFIG, Config
from fw.database.bus import BUS, INBOXES, SESSIONS, make_bus
from fw.database.bus import OUTBOX as OUTBOX_HINTS
from fw.database.caretaker import caretaker
from fw.database.listener import LISTENER, Demand, Listener
from fw.database.pool import DATABASE, Database
from fw.database.purge import Purge
from fw.docs.openapi import DESCRIPTION, Description
from fw.inbox.feed import FEED, Feed
from fw.inbox.hub import HUB, Hub
from fw.inbox.intake import INTAKE, Intake
from fw.inbox.newcomers import NEWCOMERS, Newcomers
from fw.inbox.readers import READERS, Readers
from fw.inbox.searches import SEARCHES, Searches
from fw.outbox.mail import MailCourier
from fw.outbox.worker import OUTBOX, Outbox
from fw.routes import ROUTES, routes_of
from fw.telemetry.access_log import REQUEST_LOG, RequestLog
from fw.telemetry.health import DATABASE_CHECK, DatabaseCheck
from fw.telemetry.log_writer import LogWriter
from fw.telemetry.metrics import METRICS, Metrics
from fw.telemetry.sentry import ErrorTracking
from fw.web.envelope import add_headers, envelope
from fw.web.limits import LIMITS, Limits
from fw.web.router import add_routes
from fw.web.turns import LONG_TURNS, TURNS, Turns
from fw.webhooks.courier import WebhookCourier
from fw.widgets.counters import COUNTERS, Counters
from fw.widgets.known_inboxes import KNOWN_INBOXES, KnownInboxes

BODY_BYTES: Final = 64 * 1024
REQUESTS_AT_ONCE: Final = 8
"""How many requests of one user one process works on at once: fewer than connections, so that others get some too."""
SEARCHES_AT_ONCE: Final = 2
CONNECTIONS_A_SEARCH: Final = 4
"""Of so many connections to the database one may search: the others are for what is quick."""


def create_app(config: Config) -> web.Application:
    """Return the application with all its parts, which open in the order of `parts` and close in the reverse order."""
    app = web.Application(middlewares=[envelope, authenticate], client_max_size=BODY_BYTES)
    app[CONFIG] = config
    background = app[BACKGROUND] = Background()
    database = app[DATABASE] = Database(config)
    feed = app[FEED] = Feed(database)
    demand = Demand()
    readers = app[READERS] = Readers(database, background)
    hub = app[HUB] = Hub(database, feed, readers, demand, background)
    newcomers = app[NEWCOMERS] = Newcomers()
    turns = app[TURNS] = Turns("requests-at-once", max(1, min(config.db_pool - 2, REQUESTS_AT_ONCE)))
    long_turns = app[LONG_TURNS] = Turns("searches-at-once", SEARCHES_AT_ONCE)
    app[SEARCHES] = Searches(database, long_turns, max(1, config.db_pool // CONNECTIONS_A_SEARCH))
    app[TOKENS] = Tokens(config, database)
    passwords = app[PASSWORDS] = Passwords(config)
    limits = app[LIMITS] = Limits(config, database)
    # A burst of jobs must not keep requests waiting.
    aside = database.share(max(1, config.db_pool // 2))
    webhooks = WebhookCourier(config, aside)
    outbox = app[OUTBOX] = Outbox(aside, background, {"mail": MailCourier(config, aside), "webhook": webhooks})
    bus = app[BUS] = make_bus(config, database)
    hints = {INBOXES: hub.wake, SESSIONS: hub.check_sessions, OUTBOX_HINTS: outbox.wake}
    listener = app[LISTENER] = Listener(bus, hints, hub.wake_all, demand, background)
    intake = app[INTAKE] = Intake(database, bus)
    app[DATABASE_CHECK] = DatabaseCheck(database)
    app[COUNTERS] = Counters(database, background)
    app[KNOWN_INBOXES] = KnownInboxes()
    app[METRICS] = Metrics(
        database, intake, hub, listener, passwords, limits, newcomers, background, (turns, long_turns), outbox
    )
    request_log = app[REQUEST_LOG] = RequestLog(app[METRICS], background)
    app[DESCRIPTION] = Description(ROUTES)
    parts = (
        LogWriter(),
        ErrorTracking(config),
        request_log,
        database,
        passwords,
        limits,
        bus,
        readers,
        hub,
        listener,
        intake,
        app[COUNTERS],
        webhooks,
        outbox,
        Purge(database, background),
    )
    app.cleanup_ctx.extend(context(part) for part in parts)
    if config.is_embedded:
        app.cleanup_ctx.append(context(caretaker(config.data_dir, background)))
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(end_waits)
    add_routes(app, routes_of(config), config)
    return app


def context(part: AbstractAsyncContextManager[Any]) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a context that opens a part when the application starts, and closes it when it stops."""

    async def open_and_close(app: web.Application) -> AsyncIterator[None]:
        async with part:
            yield

    return open_and_close


async def end_waits(app: web.Application) -> None:
    app[HUB].close()
