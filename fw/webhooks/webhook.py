"""Webhooks: their events and answers, and how one is found."""

from typing import Final

from aiohttp import web
from marshmallow import fields, validate

from fw.accounts.tokens import CALLER
from fw.database.pool import DATABASE, Row
from fw.errors import NotFound
from fw.web.limits import LIMITS
from fw.web.request import path_id
from fw.web.schemas import Output

EVENTS: Final = ("feedback.created", "feedback.updated", "feedback.deleted")
PING: Final = "ping"


class Webhook(Output):
    component = "Webhook"
    id = fields.UUID(required=True)
    url = fields.String(required=True)
    events = fields.List(fields.String(validate=validate.OneOf(EVENTS)), required=True)
    description = fields.String(required=True, allow_none=True)
    is_active = fields.Boolean(required=True)
    created_at = fields.DateTime(required=True)
    failing_since = fields.DateTime(
        required=True,
        allow_none=True,
        metadata={"description": "Since then every attempt has failed; null if the last did not."},
    )
    disabled_reason = fields.String(
        required=True, allow_none=True, metadata={"description": "Why it was turned off, unless you did that yourself."}
    )


async def count_change(request: web.Request) -> None:
    """Count what an account does to its webhooks: one call may cause much to be written or sent. Raises `TooManyRequests`."""
    await request.app[LIMITS].count(webhook=request[CALLER].user_id)


async def find_webhook(request: web.Request) -> Row:
    """Return the caller's webhook whose id is in the path. Raises `NotFound`."""
    row = await request.app[DATABASE].row("webhooks.one", request[CALLER].user_id, path_id(request))
    if row is None:
        raise NotFound
    return row
