"""Typed keys of what the application and a request carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from fw.accounts.passwords import Passwords
    from fw.accounts.tokens import Caller, Tokens
    from fw.background import Background
    from fw.config import Config
    from fw.database.bus import Bus
    from fw.database.listener import Listener
    from fw.database.pool import Database
    from fw.docs.openapi import Description
    from fw.inbox.feed import Feed
    from fw.inbox.hub import Hub
    from fw.inbox.intake import Intake
    from fw.inbox.newcomers import Newcomers
    from fw.inbox.readers import Readers
    from fw.routes import Access
    from fw.telemetry.access_log import Observer
    from fw.telemetry.metrics import Metrics
    from fw.web.limits import Limits
    from fw.web.turns import Turns
    from fw.widgets.counters import Counters

CONFIG: Final[web.AppKey[Config]] = web.AppKey("config")
BACKGROUND: Final[web.AppKey[Background]] = web.AppKey("background")
DATABASE: Final[web.AppKey[Database]] = web.AppKey("database")
TOKENS: Final[web.AppKey[Tokens]] = web.AppKey("tokens")
PASSWORDS: Final[web.AppKey[Passwords]] = web.AppKey("passwords")
LIMITS: Final[web.AppKey[Limits]] = web.AppKey("limits")
METRICS: Final[web.AppKey[Metrics]] = web.AppKey("metrics")
OBSERVER: Final[web.AppKey[Observer]] = web.AppKey("observer")
INTAKE: Final[web.AppKey[Intake]] = web.AppKey("intake")
BUS: Final[web.AppKey[Bus]] = web.AppKey("bus")
FEED: Final[web.AppKey[Feed]] = web.AppKey("feed")
HUB: Final[web.AppKey[Hub]] = web.AppKey("hub")
NEWCOMERS: Final[web.AppKey[Newcomers]] = web.AppKey("newcomers")
READERS: Final[web.AppKey[Readers]] = web.AppKey("readers")
TURNS: Final[web.AppKey[Turns]] = web.AppKey("turns")
SEARCHES: Final[web.AppKey[Turns]] = web.AppKey("searches")
LISTENER: Final[web.AppKey[Listener]] = web.AppKey("listener")
COUNTERS: Final[web.AppKey[Counters]] = web.AppKey("counters")
DESCRIPTION: Final[web.AppKey[Description]] = web.AppKey("description")
ACCESS: Final[web.AppKey[dict[web.AbstractRoute, Access]]] = web.AppKey("access")

TRACE: Final[web.RequestKey[tuple[str, float]]] = web.RequestKey("trace")
"""A request's id, and when it began by `time.perf_counter`."""
CALLER: Final[web.RequestKey[Caller]] = web.RequestKey("caller")
