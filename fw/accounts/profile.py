"""Accounts: the public profile, changing one's own, deleting the account."""

import logging

from aiohttp import web

from fw.accounts.authentication import check_password, outdated
from fw.accounts.cookies import drop_cookie
from fw.accounts.fields import EXAMPLE_PASSWORD, TYPED, USERNAME, EmailField, ImageUrl, Username
from fw.accounts.tokens import CALLER
from fw.accounts.user import Me, PublicUser, User, require_account
from fw.config import CONFIG
from fw.database.bus import BUS, SESSIONS
from fw.database.pool import DATABASE
from fw.errors import EmailTaken, Invalid, NotFound, TooManyRequests, UsernameTaken
from fw.ids import new_id
from fw.web.fields import Text, says
from fw.web.limits import LIMITS
from fw.web.links import VERIFY, link_token, token_hash
from fw.web.operation import Answer, operation
from fw.web.request import read_object
from fw.web.response import reply
from fw.web.schemas import Body, at_least_one

log = logging.getLogger("fw.auth")


class Profile(Body):
    component = "UserProfile"
    email = EmailField()
    username = Username()
    profile_image = ImageUrl(allow_none=True)
    current_password = Text(0, TYPED, example=EXAMPLE_PASSWORD, **says("Needed if the e-mail address changes."))
    _something = at_least_one("email", "username", "profile_image")


class AccountDeletion(Body):
    component = "UserAccountDeletion"
    current_password = Text(0, TYPED, example=EXAMPLE_PASSWORD, required=True)


@operation("users_public", Answer(200, PublicUser()), refuses=(NotFound,))
async def public(request: web.Request) -> web.Response:
    """Show what anyone may know of an account."""
    username = request.match_info["username"]
    user = await request.app[DATABASE].row("users.public", username) if USERNAME.fullmatch(username) else None
    if user is None:
        raise NotFound
    return reply(user)


@operation(
    "users_update_profile",
    Answer(200, User()),
    body=Profile(),
    refuses=(EmailTaken, UsernameTaken, TooManyRequests),
)
async def update_profile(request: web.Request) -> web.Response:
    """Change the given fields; another e-mail address takes the current password, and is asked by mail to be verified."""
    values = await read_object(request)
    user_id, database = request[CALLER].user_id, request.app[DATABASE]
    email, version, job_id = values.get("email"), None, new_id()
    if email is not None and await is_other(request, email.address):
        if "current_password" not in values:
            raise password_needed()
        await request.app[LIMITS].count(verification=user_id)
        version = (await check_password(request, values["current_password"]))["password_version"]
    user = await database.change(
        "users.update_profile",
        user_id,
        *(email or (None, None)),
        values.get("username"),
        "profile_image" in values,
        values.get("profile_image"),
        version,
        job_id,
        token_hash(link_token(request.app[CONFIG].jwt_secrets[0], VERIFY, job_id)),
    )
    if user is None:
        # Since it was read, the password has changed, or the address, which was the one that was sent.
        refusal = await outdated(request)
        raise refusal if version is not None else password_needed()
    return reply(user)


async def is_other(request: web.Request, address: str) -> bool:
    """Tell whether an e-mail address differs from the account's own in more than the case of ASCII letters.

    Two addresses with one key may be two mailboxes: ß is folded to ss.
    """
    known = require_account(await request.app[DATABASE].row("users.hashed_password", request[CALLER].user_id))["email"]
    return bool(address.encode().lower() != known.encode().lower())


def password_needed() -> Invalid:
    return Invalid(errors={"current_password": ["Is needed to change the e-mail address."]})


@operation("users_delete", Answer(204), body=AccountDeletion(), refuses=(TooManyRequests,))
async def delete(request: web.Request) -> web.Response:
    """Delete the account and everything that belongs to it, for whoever knows the password."""
    values = await read_object(request)
    current = await check_password(request, values["current_password"])
    user_id = request[CALLER].user_id
    if await request.app[DATABASE].change("users.delete", user_id, current["password_version"]) is None:
        raise await outdated(request)
    request.app[BUS].publish(SESSIONS, [user_id])
    log.info("account deleted", extra={"user_id": user_id})
    response = web.Response(status=204)
    drop_cookie(request, response)
    return response


@operation("auth_me", Answer(200, Me()))
async def me(request: web.Request) -> web.Response:
    """Show the caller's own account."""
    return reply(require_account(await request.app[DATABASE].row("users.me", request[CALLER].user_id)))
