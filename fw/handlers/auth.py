"""Registering, logging in and out, and passwords."""

import hashlib
import logging

from aiohttp import web
from marshmallow import ValidationError

from fw import keys
from fw.credentials import caller_bucket, check_password, own, session_of, with_token, wrong_password
from fw.errors import EmailTaken, Invalid, TooManyRequests, UsernameTaken, WrongCredentials
from fw.ids import new_id
from fw.inbox.bus import SESSIONS
from fw.operations import FORM, JSON, Answer, operation
from fw.payload import invalid, read_object, reply
from fw.schemas import answers
from fw.schemas import users as schemas

log = logging.getLogger("fw.auth")


@operation(Answer(201, answers.Session()), body=schemas.REGISTER, refuses=(EmailTaken, UsernameTaken, TooManyRequests))
async def register(request: web.Request) -> web.Response:
    """Make an account and log it in."""
    # What is not valid counts too, here and below: to find that out takes its time.
    await request.app[keys.LIMITS].count(registration=caller_bucket(request))
    values = await read_object(request)
    user_id = new_id()
    ticket = request.app[keys.TOKENS].issue(user_id)
    user = await request.app[keys.DATABASE].change(
        "users.register",
        user_id,
        *values["email"],
        values["username"],
        await request.app[keys.PASSWORDS].hash(values["password"]),
        values["profile_image"],
        *session_of(request, ticket),
    )
    log.info("registered", extra={"user_id": user_id, "session_id": ticket.session_id})
    return reply(with_token(user, ticket), status=201)


@operation(
    Answer(200, answers.Session()),
    body={JSON: schemas.LOGIN, FORM: schemas.LOGIN_FORM},
    refuses=(WrongCredentials, TooManyRequests),
)
async def login(request: web.Request) -> web.Response:
    """Open a session for whoever knows the password."""
    address = caller_bucket(request)
    limits, database = request.app[keys.LIMITS], request.app[keys.DATABASE]
    await limits.count(login=address)
    name, password = await read_credentials(request)
    known = await database.row("users.credentials", *((None, schemas.email_key(name)) if "@" in name else (name, None)))
    await limits.count(login_account=f"{known['id'] if known else name.casefold()} {address}")
    if not await request.app[keys.PASSWORDS].matches(password, known["hashed_password"] if known else None) or not known:
        log.warning("login failed", extra={"user_id": known["id"] if known else "unknown"})
        raise WrongCredentials
    ticket = request.app[keys.TOKENS].issue(known["id"])
    user = await database.change("users.log_in", known["id"], known["hashed_password"], *session_of(request, ticket))
    if user is None:
        raise WrongCredentials
    log.info("logged in", extra={"user_id": known["id"], "session_id": ticket.session_id})
    return reply(with_token(user, ticket))


async def read_credentials(request: web.Request) -> tuple[str, str]:
    """Read a name and a password, from JSON or from the OAuth 2 password form."""
    values = await read_object(request)
    kind = next(kind for kind in ("username", "email", "login") if kind in values)
    name = values[kind]
    if (kind == "username" and "@" in name) or (kind == "email" and "@" not in name):
        # What cannot be a name of that kind is nobody's.
        name = "\x01"
    return name, values["password"]


@operation(Answer(204))
async def logout(request: web.Request) -> web.Response:
    """End the session of the token."""
    caller = request[keys.CALLER]
    await request.app[keys.DATABASE].change("sessions.revoke", caller.user_id, caller.session_id)
    await request.app[keys.BUS].publish(SESSIONS, [caller.user_id])
    log.info("logged out", extra={"user_id": caller.user_id, "session_id": caller.session_id})
    return web.Response(status=204)


@operation(Answer(200, answers.Me()))
async def me(request: web.Request) -> web.Response:
    """Tell who the token speaks for."""
    return reply(own(await request.app[keys.DATABASE].row("users.me", request[keys.CALLER].user_id)))


@operation(Answer(204), body=schemas.PASSWORD_CHANGE, refuses=(TooManyRequests,))
async def change_password(request: web.Request) -> web.Response:
    """Set a new password for whoever knows the current one, and end all other sessions."""
    values = await read_object(request)
    caller = request[keys.CALLER]
    current = await check_password(request, values["current_password"])
    refuse_names(values["new_password"], current["username"], current["email"])
    hashed = await request.app[keys.PASSWORDS].hash(values["new_password"])
    changed = await request.app[keys.DATABASE].change(
        "users.change_password", caller.user_id, current["hashed_password"], hashed, caller.session_id
    )
    if changed is None:
        raise wrong_password()
    await request.app[keys.BUS].publish(SESSIONS, [caller.user_id])
    log.info("password changed", extra={"user_id": caller.user_id})
    return web.Response(status=204)


@operation(Answer(204), body=schemas.PASSWORD_RESET, refuses=(TooManyRequests,))
async def reset_password(request: web.Request) -> web.Response:
    """Set a new password by a reset token, once, and end all sessions."""
    await request.app[keys.LIMITS].count(login=caller_bucket(request))
    values = await read_object(request)
    token_hash = hashlib.sha256(values["token"].encode()).digest()
    account = await request.app[keys.DATABASE].row("users.find_reset", token_hash)
    if account is None:
        log.warning("password reset refused")
        raise Invalid(errors={"token": ["Is not, or no longer, valid."]})
    refuse_names(values["new_password"], account["username"], account["email_key"])
    hashed = await request.app[keys.PASSWORDS].hash(values["new_password"])
    if await request.app[keys.DATABASE].change("users.use_reset", token_hash, hashed) is None:
        raise Invalid(errors={"token": ["Is not, or no longer, valid."]})
    await request.app[keys.BUS].publish(SESSIONS, [account["id"]])
    log.info("password reset", extra={"user_id": account["id"]})
    return web.Response(status=204)


def refuse_names(password: str, *names: str) -> None:
    try:
        schemas.refuse_own_name(password, *names, field="new_password")
    except ValidationError as error:
        raise invalid(error) from None
