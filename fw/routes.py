"""The whole URL table, a line a route, grouped by who may call and from which pages."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final, NamedTuple

from aiohttp import web

from fw.accounts import login as auth
from fw.accounts import profile as users
from fw.docs import pages as docs
from fw.inbox import channel as live
from fw.inbox import listing as feedback
from fw.telemetry import health
from fw.widgets import owner as widgets

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access(Enum):
    """Who may call."""

    ANYONE = "anyone"
    OWNER = "owner"
    OWNER_OR_BILLING = "owner or billing"


class Origins(Enum):
    """From which pages a browser may call."""

    ANY = "any"
    API = "FW_CORS_ORIGINS"
    NONE = "none"


class Route(NamedTuple):
    method: str
    path: str
    handler: Handler
    access: Access
    origins: Origins


def anyone_anywhere(method: str, path: str, handler: Handler) -> Route:
    return Route(method, path, handler, Access.ANYONE, Origins.ANY)


def anyone(method: str, path: str, handler: Handler) -> Route:
    return Route(method, path, handler, Access.ANYONE, Origins.API)


def owner(method: str, path: str, handler: Handler) -> Route:
    return Route(method, path, handler, Access.OWNER, Origins.API)


def owner_or_billing(method: str, path: str, handler: Handler) -> Route:
    return Route(method, path, handler, Access.OWNER_OR_BILLING, Origins.API)


def by_itself(method: str, path: str, handler: Handler) -> Route:
    """A socket: it may say who it is after the upgrade, and browsers let any page ask, so it looks at both itself."""
    return Route(method, path, handler, Access.ANYONE, Origins.NONE)


def operator(method: str, path: str, handler: Handler) -> Route:
    return Route(method, path, handler, Access.ANYONE, Origins.NONE)


# In {ref} stands a username where feedback is sent, an id where it is read.
ROUTES: Final = (
    operator("GET", "/health", health.alive),
    operator("GET", "/health/ready", health.ready),
    operator("GET", "/metrics", health.metrics),
    # The description
    anyone("GET", "/api/openapi.json", docs.description),
    anyone("GET", "/api/docs", docs.page),
    anyone("GET", "/api/docs/{file}", docs.asset),
    anyone("GET", "/problems", docs.problems),
    anyone("GET", "/problems/{slug}", docs.problem),
    # Accounts
    anyone("POST", "/api/auth/register", auth.register),
    anyone("POST", "/api/auth/login", auth.login),
    owner("POST", "/api/auth/logout", auth.logout),
    owner("GET", "/api/auth/me", auth.me),
    owner("POST", "/api/auth/password", auth.change_password),
    anyone("POST", "/api/auth/reset", auth.reset_password),
    owner("PUT", "/api/users/profile", users.update_profile),
    owner("DELETE", "/api/users/profile", users.delete),
    owner_or_billing("PATCH", "/api/users/premium", users.set_premium),
    anyone("GET", "/api/users/{username}", users.public),
    # The inbox
    owner("GET", "/api/feedback", feedback.list_inbox),
    owner("GET", "/api/feedback/changes", feedback.changes),
    by_itself("GET", "/api/feedback/live", live.follow),
    owner("POST", "/api/feedback/read", feedback.mark_many),
    owner("PATCH", "/api/feedback/{id}/read", feedback.mark),
    anyone_anywhere("POST", "/api/feedback/{ref}", feedback.submit),
    owner("GET", "/api/feedback/{ref}", feedback.show),
    owner("DELETE", "/api/feedback/{ref}", feedback.delete),
    # Widgets
    owner("GET", "/api/widgets", widgets.list_own),
    owner("POST", "/api/widgets", widgets.create),
    owner("GET", "/api/widgets/{id}", widgets.show),
    owner("PUT", "/api/widgets/{id}", widgets.update),
    owner("DELETE", "/api/widgets/{id}", widgets.delete),
    owner("GET", "/api/widgets/{id}/stats", widgets.stats),
    anyone_anywhere("GET", "/api/widgets/{id}/config", widgets.config),
    anyone_anywhere("POST", "/api/widgets/{id}/feedback", widgets.submit),
    anyone_anywhere("POST", "/api/widgets/{id}/events", widgets.count_event),
)
