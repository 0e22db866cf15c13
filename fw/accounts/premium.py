"""Premium: who may set it, and for whom."""

import logging

from aiohttp import web

from fw.accounts.tokens import BILLING, CALLER
from fw.accounts.user import User, require_account
from fw.config import CONFIG
from fw.database.pool import DATABASE
from fw.errors import Forbidden, Invalid, NotFound
from fw.web.fields import Flag, Text, says
from fw.web.operation import Answer, operation
from fw.web.request import read_object
from fw.web.response import reply
from fw.web.schemas import Body

log = logging.getLogger("fw.auth")


class Premium(Body):
    component = "UserPremium"
    is_premium = Flag(required=True)
    username = Text(1, 320, example="you", **says("The account, if billing asks; else it is the caller's own."))


@operation("users_set_premium", Answer(200, User()), body=Premium(), refuses=(Forbidden, NotFound))
async def set_premium(request: web.Request) -> web.Response:
    """Set premium: billing for anyone; users for themselves, off always, and on if the configuration allows it."""
    values = await read_object(request)
    caller, database = request[CALLER], request.app[DATABASE]
    username = values.get("username")
    if caller.scope == BILLING:
        if username is None:
            raise Invalid(errors={"username": ["Missing data for required field."]})
        user = await database.change("users.set_premium", None, username, values["is_premium"])
    else:
        own_name = require_account(await database.row("users.own", caller.user_id))["username"]
        if (username or own_name).lower() != own_name.lower():
            raise Forbidden("Only billing sets premium for others.")
        if values["is_premium"] and not request.app[CONFIG].premium_self_service:
            raise Forbidden("Premium is set by billing, not by its user.")
        user = await database.change("users.set_premium", caller.user_id, None, values["is_premium"])
    if user is None:
        raise NotFound
    log.info("premium set", extra={"user_id": user["id"], "is_premium": values["is_premium"], "by": caller.scope or "user"})
    return reply(user)
