"""Registering, logging in and out, and passwords."""

import hashlib
import logging

from aiohttp import web
from marshmallow import ValidationError

from fw import keys
from fw.accounts import fields as schemas
from fw.accounts.authentication import caller_bucket, check_password, outdated, own, session_of, with_token
from fw.database.bus import SESSIONS
from fw.docs import answers_tmp as answers
from fw.errors import EmailTaken, Invalid, TooManyRequests, UsernameTaken, WrongCredentials
from fw.ids import new_id
from fw.web.operation import FORM, JSON, Answer, operation
from fw.web.request import invalid, read_object, reply

log = logging.getLogger("fw.auth")


@operation(
    "auth_register", Answer(201, answers.Session()), body=schemas.REGISTER, refuses=(EmailTaken, UsernameTaken, TooManyRequests)
)
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
    "auth_login",
    Answer(200, answers.Session()),
    body={JSON: schemas.LOGIN, FORM: schemas.LOGIN_FORM},
    refuses=(WrongCredentials, TooManyRequests),
)
async def login(request: web.Request) -> web.Response:
    """Open a session for whoever knows the password."""
    address = caller_bucket(request)
    limits, database = request.app[keys.LIMITS], request.app[keys.DATABASE]
    await limits.count(login=address)
    values = await read_object(request)
    name = schemas.login_name(values)
    # By what was typed, and before it is looked up: whether there is such an account makes no difference.
    await limits.count(login_account=f"{name!r} {address}")
    known = await database.row("users.credentials", *name)
    assert known
    verdict = await request.app[keys.PASSWORDS].verify(values["password"], known["hashed_password"], known["highest_cost"])
    if not verdict.matches:
        log.warning("login failed", extra={"user_id": known["id"] or "unknown"})
        raise WrongCredentials
    ticket = request.app[keys.TOKENS].issue(known["id"])
    user = await database.change(
        "users.log_in", known["id"], known["password_version"], *session_of(request, ticket), verdict.renewed
    )
    if user is None:
        raise WrongCredentials
    log.info("logged in", extra={"user_id": known["id"], "session_id": ticket.session_id})
    return reply(with_token(user, ticket))


@operation("auth_logout", Answer(204))
async def logout(request: web.Request) -> web.Response:
    """End the session of the token."""
    caller = request[keys.CALLER]
    await request.app[keys.DATABASE].change("sessions.revoke", caller.user_id, caller.session_id)
    await request.app[keys.BUS].publish(SESSIONS, [caller.user_id])
    log.info("logged out", extra={"user_id": caller.user_id, "session_id": caller.session_id})
    return web.Response(status=204)


@operation("auth_me", Answer(200, answers.Me()))
async def me(request: web.Request) -> web.Response:
    """Tell who the token speaks for."""
    return reply(own(await request.app[keys.DATABASE].row("users.me", request[keys.CALLER].user_id)))


@operation("auth_change_password", Answer(204), body=schemas.PASSWORD_CHANGE, refuses=(TooManyRequests,))
async def change_password(request: web.Request) -> web.Response:
    """Set a new password for whoever knows the current one, and end all other sessions."""
    values = await read_object(request)
    caller = request[keys.CALLER]
    current = await check_password(request, values["current_password"])
    refuse_names(values["new_password"], current["username"], current["email"])
    hashed = await request.app[keys.PASSWORDS].hash(values["new_password"])
    changed = await request.app[keys.DATABASE].change(
        "users.change_password", caller.user_id, current["password_version"], hashed, caller.session_id
    )
    if changed is None:
        raise await outdated(request)
    await request.app[keys.BUS].publish(SESSIONS, [caller.user_id])
    log.info("password changed", extra={"user_id": caller.user_id})
    return web.Response(status=204)


@operation("auth_reset_password", Answer(204), body=schemas.PASSWORD_RESET, refuses=(TooManyRequests,))
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
