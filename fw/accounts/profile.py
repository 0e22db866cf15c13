"""Accounts: their public face, their profile, premium."""

import logging

from aiohttp import web

from fw import keys
from fw.accounts import fields as schemas
from fw.accounts.authentication import check_password, outdated, own
from fw.accounts.tokens import BILLING
from fw.database.bus import SESSIONS
from fw.docs import answers_tmp as answers
from fw.errors import EmailTaken, Forbidden, Invalid, NotFound, TooManyRequests, UsernameTaken
from fw.web.operation import Answer, operation
from fw.web.request import read_object, reply

log = logging.getLogger("fw.auth")


@operation("users_public", Answer(200, answers.PublicUser()), refuses=(NotFound,))
async def public(request: web.Request) -> web.Response:
    """Show what anyone may know of an account."""
    username = request.match_info["username"]
    user = await request.app[keys.DATABASE].row("users.public", username) if schemas.USERNAME.fullmatch(username) else None
    if user is None:
        raise NotFound
    return reply(user)


@operation(
    "users_update_profile",
    Answer(200, answers.User()),
    body=schemas.PROFILE,
    refuses=(EmailTaken, UsernameTaken, TooManyRequests),
)
async def update_profile(request: web.Request) -> web.Response:
    """Change what is given; another e-mail address only for whoever knows the password."""
    values = await read_object(request)
    user_id, database = request[keys.CALLER].user_id, request.app[keys.DATABASE]
    email, version = values.get("email"), None
    if email is not None and email.key != own(await database.row("users.hashed_password", user_id))["email_key"]:
        if "current_password" not in values:
            raise password_needed()
        version = (await check_password(request, values["current_password"]))["password_version"]
    user = await database.change(
        "users.update_profile",
        user_id,
        *(email or (None, None)),
        values.get("username"),
        "profile_image" in values,
        values.get("profile_image"),
        version,
    )
    if user is None:
        # The password has changed since it was checked; or the address has, and no longer is what was sent.
        refusal = await outdated(request)
        raise refusal if version is not None else password_needed()
    return reply(user)


def password_needed() -> Invalid:
    return Invalid(errors={"current_password": ["Is needed to change the e-mail address."]})


@operation("users_set_premium", Answer(200, answers.User()), body=schemas.PREMIUM, refuses=(Forbidden, NotFound))
async def set_premium(request: web.Request) -> web.Response:
    """Set premium: billing for anyone, a user off for themselves, and on where the configuration lets them."""
    values = await read_object(request)
    caller, database = request[keys.CALLER], request.app[keys.DATABASE]
    username = values.get("username")
    if caller.scope == BILLING:
        if username is None:
            raise Invalid(errors={"username": ["Missing data for required field."]})
        user = await database.change("users.set_premium", None, username, values["is_premium"])
    else:
        own_name = own(await database.row("users.own", caller.user_id))["username"]
        if (username or own_name).lower() != own_name.lower():
            raise Forbidden("Only billing sets premium for others.")
        if values["is_premium"] and not request.app[keys.CONFIG].premium_self_service:
            raise Forbidden("Premium is set by billing, not by its user.")
        user = await database.change("users.set_premium", caller.user_id, None, values["is_premium"])
    if user is None:
        raise NotFound
    log.info("premium set", extra={"user_id": user["id"], "is_premium": values["is_premium"], "by": caller.scope or "user"})
    return reply(user)


@operation("users_delete", Answer(204), body=schemas.ACCOUNT_DELETION, refuses=(TooManyRequests,))
async def delete(request: web.Request) -> web.Response:
    """Delete the account with all that is its own, for whoever knows the password."""
    values = await read_object(request)
    current = await check_password(request, values["current_password"])
    user_id = request[keys.CALLER].user_id
    if await request.app[keys.DATABASE].change("users.delete", user_id, current["password_version"]) is None:
        raise await outdated(request)
    await request.app[keys.BUS].publish(SESSIONS, [user_id])
    log.info("account deleted", extra={"user_id": user_id})
    return web.Response(status=204)
