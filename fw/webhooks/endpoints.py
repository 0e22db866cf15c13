"""Webhooks: making, showing, changing and deleting them, their secrets, and a ping to try one."""

from typing import Any, Final

from aiohttp import web
from marshmallow import fields, validate

from fw import ids
from fw.accounts.tokens import CALLER
from fw.config import CONFIG
from fw.database.pool import DATABASE, STATEMENT_SECONDS
from fw.errors import Invalid, NotFound, TooManyRequests
from fw.inbox.searches import SEARCHES
from fw.web.fields import Flag, Many, Text, says
from fw.web.lists import Paged, page_of
from fw.web.operation import Answer, operation
from fw.web.request import path_id, read_object, read_query
from fw.web.response import reply
from fw.web.schemas import Body, Output, at_least_one
from fw.webhooks.fields import WebhookUrl, why_refused
from fw.webhooks.signature import new_secret
from fw.webhooks.webhook import EVENTS, Webhook, count_change, find_webhook

MOST: Final = 5
OLD_SECRET_SECONDS: Final = 24 * 3600
ABOUT_EVENTS: Final = says("What is sent to it, each once.")


class Webhooks(Output):
    component = "Webhooks"
    items = fields.List(fields.Nested(Webhook), required=True)
    next = fields.String(required=True, allow_none=True)


class WebhookSecret(Output):
    component = "WebhookSecret"
    secret = fields.String(required=True, metadata={"description": "The key of the signatures. It is never shown again."})


class WebhookCreated(Webhook):
    component = "WebhookCreated"
    secret = fields.String(required=True, metadata={"description": "The key of the signatures. It is never shown again."})


class Create(Body):
    component = "WebhookCreate"
    url = WebhookUrl(required=True)
    events = Many(fields.String(validate=validate.OneOf(EVENTS)), 1, len(EVENTS), load_default=[EVENTS[0]], **ABOUT_EVENTS)
    description = Text(0, 200, trim=True, allow_none=True, load_default=None, example="Our chat")


class Change(Body):
    """Any part of a webhook; at least one."""

    component = "WebhookChange"
    url = WebhookUrl()
    events = Many(fields.String(validate=validate.OneOf(EVENTS)), 1, len(EVENTS), **ABOUT_EVENTS)
    description = Text(0, 200, trim=True, allow_none=True, example="Our chat")
    is_active = Flag()
    _something = at_least_one("url", "events", "description", "is_active")


@operation("webhooks_list_own", Answer(200, Webhooks()), query=Paged())
async def list_own(request: web.Request) -> web.Response:
    """List the caller's webhooks, newest first."""
    wanted = read_query(request)
    below = wanted.get("after", ids.HIGHEST)
    rows = await request.app[DATABASE].rows("webhooks.list", request[CALLER].user_id, below, wanted["limit"] + 1)
    return reply(page_of(rows, wanted["limit"]))


@operation(
    "webhooks_create",
    Answer(201, WebhookCreated(), ("Location",)),
    body=Create(),
    refuses=(TooManyRequests,),
    leads_to=tuple(
        f"webhooks_{name}"
        for name in ("show", "update", "delete", "rotate_secret", "ping", "list_deliveries", "resend_deliveries")
    ),
)
async def create(request: web.Request) -> web.Response:
    """Make a webhook, unless there are five. Its `secret` is shown here and never again."""
    values = await read_object(request)
    refuse_private(request, values)
    await count_change(request)
    user_id, webhook_id = request[CALLER].user_id, ids.new_id()
    row = await request.app[DATABASE].change(
        "webhooks.create",
        *(user_id, webhook_id, ids.created_at(webhook_id), values["url"]),
        *(in_order(values["events"]), values["description"], new_secret(), MOST),
    )
    if row is None:
        raise Invalid(errors={"_schema": [f"An account has at most {MOST} webhooks."]})
    return reply(row, status=201, headers={"Location": f"/api/webhooks/{webhook_id}"})


def refuse_private(request: web.Request, values: dict[str, Any]) -> None:
    """Raises `Invalid` if the address, if there is one, is not one that this server sends to."""
    reason = why_refused(values["url"], request.app[CONFIG].webhook_allow_private) if "url" in values else ""
    if reason:
        raise Invalid(errors={"url": [reason]})


def in_order(events: list[str]) -> list[str]:
    """Return the events in their usual order, each once."""
    return [event for event in EVENTS if event in events]


@operation("webhooks_show", Answer(200, Webhook()), refuses=(NotFound,))
async def show(request: web.Request) -> web.Response:
    """Show one of the caller's webhooks."""
    return reply(await find_webhook(request))


@operation("webhooks_update", Answer(200, Webhook()), body=Change(), refuses=(NotFound, TooManyRequests))
async def update(request: web.Request) -> web.Response:
    """Change the given fields of one of the caller's webhooks.

    To turn it off takes back what waits to be sent. To turn it on, or to give it another address, is to begin anew.
    """
    values = await read_object(request)
    refuse_private(request, values)
    await count_change(request)
    user_id = request[CALLER].user_id
    # Much may have to be taken back.
    async with request.app[SEARCHES].place(user_id):
        row = await request.app[DATABASE].change(
            "webhooks.update",
            *(user_id, path_id(request), values.get("url")),
            in_order(values["events"]) if "events" in values else None,
            *("description" in values, values.get("description"), values.get("is_active")),
        )
    if row is None:
        raise NotFound
    return reply(row)


@operation("webhooks_delete", Answer(204), refuses=(NotFound,))
async def delete(request: web.Request) -> web.Response:
    """Delete one of the caller's webhooks, with its deliveries and what waits to be sent."""
    user_id, webhook_id = request[CALLER].user_id, path_id(request)
    # There may be many deliveries.
    async with request.app[SEARCHES].place(user_id):
        row = await request.app[DATABASE].change("webhooks.delete", user_id, webhook_id, seconds=STATEMENT_SECONDS)
    if row is None or not row["deleted"]:
        raise NotFound
    return web.Response(status=204)


@operation("webhooks_rotate_secret", Answer(200, WebhookSecret()), refuses=(NotFound, TooManyRequests))
async def rotate_secret(request: web.Request) -> web.Response:
    """Set a new secret; for 24 hours the one before signs too.

    If it is replaced twice within that time, the first of the three is no longer good.
    """
    await count_change(request)
    row = await request.app[DATABASE].change(
        "webhooks.rotate_secret", request[CALLER].user_id, path_id(request), new_secret(), OLD_SECRET_SECONDS
    )
    if row is None:
        raise NotFound
    return reply(row)


@operation("webhooks_ping", Answer(202), refuses=(NotFound, TooManyRequests))
async def ping(request: web.Request) -> web.Response:
    """Send a `ping` to a webhook, before whatever else waits; it is tried once, also if the webhook is turned off."""
    await count_change(request)
    row = await request.app[DATABASE].change("webhooks.ping", request[CALLER].user_id, path_id(request))
    if row is None or not row["pinged"]:
        raise NotFound
    return web.Response(status=202)
