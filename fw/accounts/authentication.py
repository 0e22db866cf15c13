"""What the handlers of accounts share: checking the caller's password, and opening a session."""

import logging
from datetime import datetime

from aiohttp import hdrs, web

from fw.accounts.passwords import PASSWORDS
from fw.accounts.tokens import BILLING, CALLER, TOKENS, Caller, Ticket
from fw.accounts.user import own
from fw.database.pool import DATABASE, Row
from fw.errors import Forbidden, Invalid, Unauthorized
from fw.web.address import caller_bucket
from fw.web.limits import LIMITS
from fw.web.response import send
from fw.web.route import ACCESS, Access, Handler
from fw.web.turns import TURNS

log = logging.getLogger("fw.auth")


def bearer_token(request: web.Request) -> str:
    """Return the token in a request's head; one of another scheme is as bad as none. Raises `Unauthorized`."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized
    return token.strip()


def check_scope(caller: Caller, access: Access) -> None:
    """Let a token do only what its scope is for. Raises `Forbidden`."""
    if caller.scope == BILLING and access is not Access.OWNER_OR_BILLING:
        raise Forbidden("A billing token can set premium and do nothing else.")


async def check_password(request: web.Request, password: str) -> Row:
    """Return what is stored of the caller's account if this is its password. Raises `Invalid`."""
    user_id = request[CALLER].user_id
    await request.app[LIMITS].count(login_account=f"{user_id} {caller_bucket(request)}")
    current = own(await request.app[DATABASE].row("users.hashed_password", user_id))
    if not await request.app[PASSWORDS].matches(password, current["hashed_password"]):
        log.warning("password check failed", extra={"user_id": user_id})
        raise wrong_password()
    return current


async def outdated(request: web.Request) -> Invalid:
    """Make the refusal of a password that has changed since it was checked. Raises `Unauthorized` if the account is gone."""
    own(await request.app[DATABASE].row("users.own", request[CALLER].user_id))
    return wrong_password()


def wrong_password() -> Invalid:
    return Invalid(errors={"current_password": ["Is not your password."]})


def session_of(request: web.Request, ticket: Ticket) -> tuple[str, datetime, str | None]:
    """Return what is kept of a session: its id, its end, and the program that opened it."""
    agent = request.headers.get("User-Agent", "").encode("utf-8", "replace").decode().replace("\0", "")
    return ticket.session_id, ticket.expires_at, agent[:200] or None


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let only those through whom the route table names. What has no route of its own (404, preflights) is for anyone."""
    access = request.app[ACCESS].get(request.match_info.route, Access.ANYONE)
    if access is Access.ANYONE:
        return await handler(request)
    tokens, turns = request.app[TOKENS], request.app[TURNS]
    caller = tokens.verify(bearer_token(request))
    await turns.take(caller.user_id)
    try:
        await tokens.confirm(caller)
        check_scope(caller, access)
        request[CALLER] = caller
        response = await handler(request)
        await send(request, response)
        return response
    finally:
        turns.give_back(caller.user_id)
