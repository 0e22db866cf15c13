"""Registering an account."""

import logging
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from marshmallow import validates_schema

from fw.accounts.authentication import reply_session, session_of
from fw.accounts.cookies import refuse_foreign_page
from fw.accounts.fields import EmailField, ImageUrl, NewPassword, SessionWay, Username, refuse_own_name
from fw.accounts.passwords import PASSWORDS
from fw.accounts.tokens import TOKENS
from fw.accounts.user import Session
from fw.config import CONFIG
from fw.database.pool import DATABASE
from fw.errors import EmailTaken, Forbidden, TooManyRequests, UsernameTaken
from fw.ids import new_id
from fw.web.address import caller_bucket
from fw.web.limits import LIMITS
from fw.web.links import VERIFY, link_token, token_hash
from fw.web.operation import Answer, operation
from fw.web.request import read_object
from fw.web.schemas import Body

log = logging.getLogger("fw.auth")


class Register(Body):
    component = "UserRegister"
    email = EmailField(required=True)
    username = Username(required=True)
    password = NewPassword()
    profile_image = ImageUrl(allow_none=True, load_default=None)
    session = SessionWay()

    @validates_schema
    def _password_is_no_name(self, data: Mapping[str, Any], **_: Any) -> None:
        refuse_own_name(data["password"], data["username"], data["email"].address)


@operation(
    "auth_register", Answer(201, Session()), body=Register(), refuses=(Forbidden, EmailTaken, UsernameTaken, TooManyRequests)
)
async def register(request: web.Request) -> web.Response:
    """Make an account and open its first session."""
    # Invalid requests count too: it takes time to find out that they are.
    await request.app[LIMITS].count(registration=caller_bucket(request))
    values = await read_object(request)
    by_cookie = values["session"] is not None
    refuse_foreign_page(request, by_cookie=by_cookie)
    user_id, job_id = new_id(), new_id()
    ticket = request.app[TOKENS].issue(user_id)
    user = await request.app[DATABASE].change(
        "users.register",
        user_id,
        *values["email"],
        values["username"],
        await request.app[PASSWORDS].hash(values["password"]),
        values["profile_image"],
        *session_of(request, ticket),
        job_id,
        token_hash(link_token(request.app[CONFIG].jwt_secrets[0], VERIFY, job_id)),
    )
    log.info("registered", extra={"user_id": user_id, "session_id": ticket.session_id})
    return reply_session(request, user, ticket, by_cookie=by_cookie, status=201)
