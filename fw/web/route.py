"""The parts of the URL table: routes, who may call them, and from which pages."""

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Final, NamedTuple

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access(Enum):
    """Who may call a route."""

    ANYONE = "anyone"
    OWNER = "owner"
    OWNER_OR_BILLING = "owner or billing"


ACCESS: Final[web.AppKey[Mapping[web.AbstractRoute, Access]]] = web.AppKey("access")


class Origins(Enum):
    """From which pages a browser may call a route."""

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
    """A route that checks tokens and origins itself: a socket may send its token after the upgrade, and browsers let any page
    open sockets.
    """
    return Route(method, path, handler, Access.ANYONE, Origins.NONE)


def page(method: str, path: str, handler: Handler) -> Route:
    """A page for people, or a file that it needs. No page of another site may read it."""
    return Route(method, path, handler, Access.ANYONE, Origins.NONE)


def operator(method: str, path: str, handler: Handler) -> Route:
    """A route for operators, which no page of another site may call."""
    return Route(method, path, handler, Access.ANYONE, Origins.NONE)
