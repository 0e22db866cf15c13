"""Typed keys of what the application and a request carry."""

from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from fw.config import Config
    from fw.counters import Counters
    from fw.database import Database
    from fw.inbox.feed import Feed
    from fw.inbox.hub import Hub
    from fw.inbox.intake import Intake
    from fw.inbox.listener import Listener
    from fw.limits import Limits
    from fw.passwords import Passwords
    from fw.routes import Access
    from fw.tokens import Caller, Tokens

CONFIG: Final = web.AppKey["Config"]("config")
DATABASE: Final = web.AppKey["Database"]("database")
TOKENS: Final = web.AppKey["Tokens"]("tokens")
PASSWORDS: Final = web.AppKey["Passwords"]("passwords")
LIMITS: Final = web.AppKey["Limits"]("limits")
INTAKE: Final = web.AppKey["Intake"]("intake")
FEED: Final = web.AppKey["Feed"]("feed")
HUB: Final = web.AppKey["Hub"]("hub")
LISTENER: Final = web.AppKey["Listener"]("listener")
COUNTERS: Final = web.AppKey["Counters"]("counters")
ACCESS: Final = web.AppKey["dict[web.AbstractRoute, Access]"]("access")

REQUEST_ID: Final = web.RequestKey[str]("request_id")
CALLER: Final = web.RequestKey["Caller"]("caller")
