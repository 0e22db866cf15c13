"""Logging in."""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web
from email_validator import EmailNotValidError
from marshmallow import fields, validate

from fw.accounts.authentication import reply_session, session_of
from fw.accounts.cookies import refuse_foreign_page
from fw.accounts.fields import EXAMPLE_PASSWORD, TYPED, SessionWay
from fw.accounts.passwords import PASSWORDS
from fw.accounts.tokens import TOKENS
from fw.accounts.user import Session
from fw.database.pool import DATABASE
from fw.errors import Forbidden, TooManyRequests, WrongCredentials
from fw.web.address import caller_bucket
from fw.web.email_address import read_address
from fw.web.fields import Text
from fw.web.limits import LIMITS
from fw.web.operation import FORM, JSON, Answer, operation
from fw.web.request import read_object
from fw.web.schemas import Body, exactly_one

log = logging.getLogger("fw.auth")


class LoginName(NamedTuple):
    """The name that was typed, folded for the look-up and for counting attempts: one of the fields is None."""

    username: str | None
    email_key: str | None


class Login(Body):
    """A password, and the name of its account in one of three fields."""

    component = "UserLogin"
    username = Text(1, 320, example="you")
    email = Text(1, 320, example="you@example.com")
    login = Text(1, 320, example="you")
    password = Text(0, TYPED, example=EXAMPLE_PASSWORD, required=True)
    session = SessionWay()
    _one_name = exactly_one("username", "email", "login", blame="login", example={"login": "you", "password": EXAMPLE_PASSWORD})


class LoginForm(Body):
    """The password form of OAuth 2 (RFC 6749, 4.3.2), whose `username` may be an e-mail address too."""

    component = "UserLoginForm"
    grant_type = fields.String(validate=validate.Equal("password"))
    scope = fields.String()
    client_id = fields.String()
    client_secret = fields.String()
    login = Text(1, 320, example="you", required=True, data_key="username")
    password = Text(0, TYPED, example=EXAMPLE_PASSWORD, required=True)


@operation(
    "auth_login",
    Answer(200, Session()),
    body={JSON: Login(), FORM: LoginForm()},
    refuses=(Forbidden, WrongCredentials, TooManyRequests),
)
async def login(request: web.Request) -> web.Response:
    """Open a session for whoever knows the password."""
    address = caller_bucket(request)
    limits, database = request.app[LIMITS], request.app[DATABASE]
    await limits.count(login=address)
    values = await read_object(request)
    by_cookie = values.get("session") is not None
    refuse_foreign_page(request, by_cookie=by_cookie)
    name = login_name(values)
    # Counted by what was typed, before the look-up: whether the account exists makes no difference.
    await limits.count(login_account=f"{name!r} {address}")
    known = await database.row("users.credentials", *name)
    assert known
    verdict = await request.app[PASSWORDS].verify(values["password"], known["hashed_password"], known["highest_cost"])
    if not verdict.matches:
        log.warning("login failed", extra={"user_id": known["id"] or "unknown"})
        raise WrongCredentials
    ticket = request.app[TOKENS].issue(known["id"])
    user = await database.change(
        "users.log_in", known["id"], known["password_version"], *session_of(request, ticket), verdict.renewed
    )
    if user is None:
        raise WrongCredentials
    log.info("logged in", extra={"user_id": known["id"], "session_id": ticket.session_id})
    return reply_session(request, user, ticket, by_cookie=by_cookie)


def login_name(typed: Mapping[str, Any]) -> LoginName:
    """Return the name of a login as it is compared, the same for all spellings; a `login` with an "@" is an e-mail address."""
    login = typed.get("login", "")
    if "email" in typed or "@" in login:
        return LoginName(None, email_key(typed.get("email", login)))
    # Only ASCII letters are folded, as in the database: usernames have no others.
    return LoginName(typed.get("username", login).encode().lower().decode(), None)


def email_key(typed: str) -> str:
    """Return an e-mail address as it is compared: case-folded, and the same for all spellings of its domain."""
    try:
        return read_address(typed).normalized.casefold()
    except EmailNotValidError:
        return typed.casefold()
