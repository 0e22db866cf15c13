"""A forgotten password: has a link mailed that sets a new one."""

from aiohttp import web

from fw.accounts.fields import Email, EmailField
from fw.config import CONFIG
from fw.database.pool import DATABASE
from fw.errors import TooManyRequests
from fw.ids import new_id
from fw.web.address import caller_bucket
from fw.web.limits import LIMITS
from fw.web.links import RESET, link_token, token_hash
from fw.web.operation import Answer, operation
from fw.web.request import read_object
from fw.web.schemas import Body


class Forgotten(Body):
    component = "UserForgotten"
    email = EmailField(required=True)


@operation("auth_forgot", Answer(202), body=Forgotten(), refuses=(TooManyRequests,))
async def forgot(request: web.Request) -> web.Response:
    """Have a link mailed that sets a new password, if there is an account with this address. Whether there is, is not told."""
    await count_forgot(request)
    values = await read_object(request)
    await mail_reset(request, values["email"])
    return web.Response(status=202)


async def count_forgot(request: web.Request) -> None:
    """Count a request by where it comes from, before it is looked at. Raises `TooManyRequests`."""
    await request.app[LIMITS].count(forgot=caller_bucket(request))


async def mail_reset(request: web.Request, email: Email) -> None:
    """Have a link mailed to an address. What is counted and what is asked of the database is the same if nobody has it."""
    await request.app[LIMITS].count(forgot_account=email.key)
    job_id = new_id()
    token = link_token(request.app[CONFIG].jwt_secrets[0], RESET, job_id)
    await request.app[DATABASE].change("users.forget", email.key, job_id, token_hash(token))
