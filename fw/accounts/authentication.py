"""What the handlers of accounts share: checking the caller's password, and opening a session."""

import logging
from datetime import datetime
from typing import Any

from aiohttp import hdrs, web

from fw import keys
from fw.accounts.tokens import Ticket
from fw.database.pool import Row
from fw.errors import Invalid, Unauthorized
from fw.web.address import bucket, client_address

log = logging.getLogger("fw.auth")


def bearer_token(request: web.Request) -> str:
    """Return the token that came with a request. Raises `Unauthorized`."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized
    return token.strip()


def own(row: Row | None) -> Row:
    """Return the row of the caller's own account. Raises `Unauthorized` where it has just been deleted."""
    if row is None:
        raise Unauthorized
    return row


async def check_password(request: web.Request, password: str) -> Row:
    """Return what is stored of the caller's account if this is its password. Raises `Invalid`."""
    user_id = request[keys.CALLER].user_id
    await request.app[keys.LIMITS].count(login_account=f"{user_id} {caller_bucket(request)}")
    current = own(await request.app[keys.DATABASE].row("users.hashed_password", user_id))
    if not await request.app[keys.PASSWORDS].matches(password, current["hashed_password"]):
        log.warning("password check failed", extra={"user_id": user_id})
        raise wrong_password()
    return current


async def outdated(request: web.Request) -> Invalid:
    """Make the refusal of a password that has changed since it was checked. Raises `Unauthorized` if the account is gone."""
    own(await request.app[keys.DATABASE].row("users.own", request[keys.CALLER].user_id))
    return wrong_password()


def wrong_password() -> Invalid:
    return Invalid(errors={"current_password": ["Is not your password."]})


def caller_bucket(request: web.Request) -> str:
    """Name the caller's address as limits count it."""
    return bucket(client_address(request, request.app[keys.CONFIG].trusted_proxies))


def session_of(request: web.Request, ticket: Ticket) -> tuple[str, datetime, str | None]:
    """Return what is kept of a session: its id, its end, and the program that opened it."""
    agent = request.headers.get("User-Agent", "").encode("utf-8", "replace").decode().replace("\0", "")
    return ticket.session_id, ticket.expires_at, agent[:200] or None


def with_token(user: Row | None, ticket: Ticket) -> dict[str, Any]:
    """Make the answer to a registration or a login."""
    return {
        "user": user,
        "access_token": ticket.token,
        "token_type": "bearer",
        "expires_in": ticket.seconds,
    }
