"""What the handlers of accounts share: checking the caller's password, and opening a session."""

import logging
from datetime import datetime

from aiohttp import hdrs, web

from fw.accounts.cookies import cookie_token, set_cookie
from fw.accounts.passwords import PASSWORDS
from fw.accounts.tokens import BILLING, CALLER, TOKENS, Caller, Ticket
from fw.accounts.user import require_account
from fw.database.pool import DATABASE, Row
from fw.database.rotation import ASKER, Kind
from fw.errors import Forbidden, Invalid, Unauthorized
from fw.web.address import caller_bucket
from fw.web.limits import LIMITS
from fw.web.request import read_body
from fw.web.response import reply, send
from fw.web.route import ACCESS, Access, Handler
from fw.web.turns import TURNS

log = logging.getLogger("fw.auth")


def bearer_token(request: web.Request) -> str:
    """Return the bearer token of a request. Raises `Unauthorized` if there is none, or one of another scheme."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer":
        raise Unauthorized
    return token.strip()


def token_of(request: web.Request) -> str:
    """Return the token of a request: the bearer's, else the cookie's. Raises `Unauthorized`, `Forbidden`."""
    if hdrs.AUTHORIZATION in request.headers:
        return bearer_token(request)
    token = cookie_token(request)
    if token is None:
        raise Unauthorized
    return token


def check_scope(caller: Caller, access: Access) -> None:
    """Raises `Forbidden` if the scope of the caller's token does not cover the route."""
    if caller.scope == BILLING and access is not Access.OWNER_OR_BILLING:
        raise Forbidden("A billing token can set premium and do nothing else.")


async def check_password(request: web.Request, password: str) -> Row:
    """Return the caller's row of `users.hashed_password` if the password is right. Raises `Invalid` if not."""
    user_id = request[CALLER].user_id
    await request.app[LIMITS].count(login_account=f"{user_id} {caller_bucket(request)}")
    current = require_account(await request.app[DATABASE].row("users.hashed_password", user_id))
    if not await request.app[PASSWORDS].matches(password, current["hashed_password"]):
        log.warning("password check failed", extra={"user_id": user_id})
        raise wrong_password()
    return current


async def outdated(request: web.Request) -> Invalid:
    """Return the error for a password that has changed since it was checked. Raises `Unauthorized` if the account is gone."""
    require_account(await request.app[DATABASE].row("users.own", request[CALLER].user_id))
    return wrong_password()


def wrong_password() -> Invalid:
    return Invalid(errors={"current_password": ["Is not your password."]})


def session_of(request: web.Request, ticket: Ticket) -> tuple[str, datetime, str | None]:
    """Return what is stored of a session: its id, its end, and the `User-Agent` that opened it."""
    agent = request.headers.get("User-Agent", "").encode("utf-8", "replace").decode().replace("\0", "")
    return ticket.session_id, ticket.expires_at, agent[:200] or None


def reply_session(
    request: web.Request, user: Row | None, ticket: Ticket, *, by_cookie: bool, status: int = 200
) -> web.Response:
    """Answer with a new session: its token or, by cookie, none."""
    answer = {"user": user, "expires_in": ticket.seconds}
    if not by_cookie:
        return reply({**answer, "access_token": ticket.token, "token_type": "bearer"}, status=status)
    response = reply(answer, status=status)
    set_cookie(request, response, ticket)
    return response


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a caller through if the route table allows it. Requests without a route of ours (404, preflights) are for anyone."""
    access = request.app[ACCESS].get(request.match_info.route, Access.ANYONE)
    if access is Access.ANYONE:
        return await handler(request)
    tokens, turns = request.app[TOKENS], request.app[TURNS]
    caller = tokens.verify(token_of(request))
    ASKER.set(lambda: (Kind.SIGNED_IN, caller.user_id))
    await turns.take(caller.user_id)
    try:
        await tokens.confirm(caller)
        if not request.content.is_eof():
            async with turns.pause(caller.user_id):
                await read_body(request)
            # The session may have ended while the body came.
            await tokens.confirm(caller)
        check_scope(caller, access)
        request[CALLER] = caller
        response = await handler(request)
        await send(request, response)
        return response
    finally:
        turns.give_back(caller.user_id)
