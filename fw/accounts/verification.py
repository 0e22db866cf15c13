"""Verifying that an e-mail address is its account's: by a link that is mailed to it."""

import logging

from aiohttp import web

from fw.accounts.tokens import CALLER
from fw.config import CONFIG
from fw.database.pool import DATABASE
from fw.errors import Invalid, TooManyRequests
from fw.ids import new_id
from fw.web.address import caller_bucket
from fw.web.fields import Text, says
from fw.web.limits import LIMITS
from fw.web.links import VERIFY, link_token, token_hash
from fw.web.operation import Answer, operation
from fw.web.request import read_object
from fw.web.schemas import Body

log = logging.getLogger("fw.auth")


class Verification(Body):
    component = "UserVerification"
    token = Text(1, 200, required=True, **says("From the link of a mail; for 24 hours and once, until there is a new one."))


@operation("auth_verify", Answer(204), body=Verification(), refuses=(TooManyRequests,))
async def verify(request: web.Request) -> web.Response:
    """Say that the e-mail address of an account is its own, by the token that was mailed to it."""
    await request.app[LIMITS].count(login=caller_bucket(request))
    values = await read_object(request)
    account = await request.app[DATABASE].change("users.verify", token_hash(values["token"]))
    if account is None:
        log.warning("verification refused")
        raise Invalid(errors={"token": ["Is not, or no longer, valid."]})
    log.info("address verified", extra={"user_id": account["id"]})
    return web.Response(status=204)


@operation("auth_resend_verification", Answer(202), refuses=(TooManyRequests,))
async def resend(request: web.Request) -> web.Response:
    """Have another link mailed; the ones before end. If the address is verified, nothing is sent."""
    user_id, job_id = request[CALLER].user_id, new_id()
    await request.app[LIMITS].count(verification=user_id)
    token = link_token(request.app[CONFIG].jwt_secrets[0], VERIFY, job_id)
    await request.app[DATABASE].change("users.ask_verification", user_id, job_id, token_hash(token))
    return web.Response(status=202)
