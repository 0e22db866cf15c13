"""What was sent to a webhook, or is to be: the list of it, and sending it again."""

from datetime import UTC, date, datetime, time
from typing import Any, Final

from aiohttp import web
from marshmallow import fields, validate

from fw import ids
from fw.accounts.tokens import CALLER
from fw.database.pool import DATABASE
from fw.errors import Invalid, NotFound, TooManyRequests
from fw.inbox.searches import SEARCHES
from fw.web.answers import Count
from fw.web.fields import Id, Moment, says
from fw.web.lists import Paged, page_of
from fw.web.operation import Answer, operation
from fw.web.request import read_object, read_query
from fw.web.response import reply
from fw.web.schemas import Body, Output, exactly_one
from fw.webhooks.webhook import EVENTS, PING, count_change, find_webhook

MOST: Final = 1000
"""How many deliveries one call queues."""


class Delivery(Output):
    component = "Delivery"
    id = fields.UUID(required=True, **says("The `webhook-id` of every attempt."))
    type = fields.String(required=True, validate=validate.OneOf((*EVENTS, PING)))
    feedback_id = fields.UUID(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)
    attempts = Count()
    next_attempt_at = fields.DateTime(required=True, allow_none=True, **says("Null if it is not tried again."))
    delivered_at = fields.DateTime(required=True, allow_none=True)
    status_code = fields.Integer(required=True, allow_none=True, **says("Of the last answer, if there was one."))
    error = fields.String(required=True, allow_none=True, **says("Why the last attempt failed, or why there is none."))


class Deliveries(Output):
    component = "Deliveries"
    items = fields.List(fields.Nested(Delivery), required=True)
    next = fields.String(required=True, allow_none=True)


class Resend(Body):
    component = "WebhookResend"
    delivery_id = Id(**says("One delivery, whether it was delivered or not."))
    since = Moment(**says("All that has failed since then, whether it is to be tried again or was given up."))
    _one = exactly_one("delivery_id", "since", example={"since": "2026-01-31T12:00:00Z"})


class Queued(Output):
    component = "Queued"
    queued = Count()


@operation("webhooks_list_deliveries", Answer(200, Deliveries()), query=Paged(), refuses=(NotFound,))
async def list_deliveries(request: web.Request) -> web.Response:
    """List what was sent to a webhook in the last 30 days, or is to be, newest first."""
    wanted = read_query(request)
    webhook = await find_webhook(request)
    below = wanted.get("after", ids.HIGHEST)
    rows = await request.app[DATABASE].rows(
        "webhooks.deliveries", request[CALLER].user_id, webhook["id"], below, wanted["limit"] + 1
    )
    return reply(page_of(rows, wanted["limit"]))


@operation("webhooks_resend_deliveries", Answer(202, Queued()), body=Resend(), refuses=(NotFound, TooManyRequests))
async def resend_deliveries(request: web.Request) -> web.Response:
    """Send one delivery again, or all that have failed since a moment, under the ids that they had.

    With `since`, pings and what is about deleted feedback are left out, and at most 1,000 are queued: call again for more.
    """
    values = await read_object(request)
    webhook = await find_webhook(request)
    if not webhook["is_active"]:
        raise Invalid(errors={"_schema": ["The webhook is turned off: turn it on first."]})
    await count_change(request)
    since, user_id = moment(values), request[CALLER].user_id
    async with request.app[SEARCHES].place(user_id):
        row = await request.app[DATABASE].change(
            "webhooks.resend",
            *(user_id, webhook["id"], values.get("delivery_id")),
            # An id may be of the millisecond in which the moment lies.
            *(since, since and ids.just_before(ids.millisecond_of(since)), MOST),
        )
    if row is None or row["queued"] is None:
        # It was deleted or turned off in this moment.
        raise NotFound
    if not row["queued"] and "delivery_id" in values:
        raise Invalid(errors={"delivery_id": ["This webhook has no such delivery."]})
    return reply(row, status=202)


def moment(values: dict[str, Any]) -> datetime | None:
    """Return the time to begin at, if there is one; a day begins at midnight UTC."""
    since: datetime | date | None = values.get("since")
    if since is None or isinstance(since, datetime):
        return since
    return datetime.combine(since, time(), UTC)
