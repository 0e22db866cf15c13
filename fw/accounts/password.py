"""Changing a password, and resetting a forgotten one."""

import logging

from aiohttp import web
from marshmallow import ValidationError

from fw.accounts.authentication import check_password, outdated
from fw.accounts.fields import EXAMPLE_PASSWORD, TYPED, NewPassword, refuse_own_name
from fw.accounts.passwords import PASSWORDS
from fw.accounts.tokens import CALLER
from fw.database.bus import BUS, SESSIONS
from fw.database.pool import DATABASE
from fw.errors import Invalid, TooManyRequests
from fw.web.address import caller_bucket
from fw.web.fields import Text, says
from fw.web.limits import LIMITS
from fw.web.links import token_hash
from fw.web.operation import Answer, operation
from fw.web.request import invalid, read_object
from fw.web.schemas import Body

log = logging.getLogger("fw.auth")


class PasswordChange(Body):
    component = "UserPasswordChange"
    current_password = Text(0, TYPED, example=EXAMPLE_PASSWORD, required=True)
    new_password = NewPassword()


class PasswordReset(Body):
    component = "UserPasswordReset"
    token = Text(
        1,
        200,
        required=True,
        **says(
            "From the link of a mail, or `fw user reset`; for 30 minutes and once, until the password or the address changes."
        ),
    )
    new_password = NewPassword()


@operation("auth_change_password", Answer(204), body=PasswordChange(), refuses=(TooManyRequests,))
async def change_password(request: web.Request) -> web.Response:
    """Set a new password for whoever knows the current one, and end all other sessions."""
    values = await read_object(request)
    caller = request[CALLER]
    current = await check_password(request, values["current_password"])
    refuse_names(values["new_password"], current["username"], current["email"])
    hashed = await request.app[PASSWORDS].hash(values["new_password"])
    changed = await request.app[DATABASE].change(
        "users.change_password", caller.user_id, current["password_version"], hashed, caller.session_id
    )
    if changed is None:
        raise await outdated(request)
    request.app[BUS].publish(SESSIONS, [caller.user_id])
    log.info("password changed", extra={"user_id": caller.user_id})
    return web.Response(status=204)


@operation("auth_reset_password", Answer(204), body=PasswordReset(), refuses=(TooManyRequests,))
async def reset_password(request: web.Request) -> web.Response:
    """Set a new password with a reset token, which works once, and end all sessions."""
    await request.app[LIMITS].count(login=caller_bucket(request))
    values = await read_object(request)
    hashed_token = token_hash(values["token"])
    account = await request.app[DATABASE].row("users.find_reset", hashed_token)
    if account is None:
        log.warning("password reset refused")
        raise Invalid(errors={"token": ["Is not, or no longer, valid."]})
    refuse_names(values["new_password"], account["username"], account["email_key"])
    hashed = await request.app[PASSWORDS].hash(values["new_password"])
    if await request.app[DATABASE].change("users.use_reset", hashed_token, hashed) is None:
        raise Invalid(errors={"token": ["Is not, or no longer, valid."]})
    request.app[BUS].publish(SESSIONS, [account["id"]])
    log.info("password reset", extra={"user_id": account["id"]})
    return web.Response(status=204)


def refuse_names(password: str, *names: str) -> None:
    try:
        refuse_own_name(password, *names, field="new_password")
    except ValidationError as error:
        raise invalid(error) from None
