"""Widgets: their owner's side, and what the page that shows one calls."""

import hashlib
from typing import Any, Final

from aiohttp import web
from marshmallow import ValidationError

from fw import ids, keys
from fw.accounts.authentication import caller_bucket
from fw.database.pool import Row
from fw.docs import answers_tmp as answers
from fw.errors import Forbidden, IdempotencyMismatch, NotFound, OriginNotAllowed, PremiumRequired, TooManyRequests
from fw.inbox.fields import SUBMIT_HEADERS, dump
from fw.inbox.submissions import RECEIPT, admit, admit_to, store
from fw.web import paging as pages
from fw.web.operation import JSON, Answer, operation
from fw.web.request import invalid, not_modified, read_object, read_query, reply
from fw.widgets import widget as schemas
from fw.widgets.statistics import report

FREE: Final = 3
PREMIUM: Final = 100
EVENT: Final = "widget-event"
COLUMNS: Final = ("name", "type", "theme", "settings", "is_active")


@operation("widgets_list_own", Answer(200, answers.Widgets()), query=schemas.LIST)
async def list_own(request: web.Request) -> web.Response:
    """List the caller's widgets, newest first."""
    wanted = read_query(request)
    below = wanted.get("after", ids.HIGHEST)
    rows = await request.app[keys.DATABASE].rows("widgets.list", request[keys.CALLER].user_id, below, wanted["limit"] + 1)
    items = rows[: wanted["limit"]]
    return reply({"items": items, "next": pages.encode(items[-1]["id"]) if len(rows) > len(items) else None})


@operation(
    "widgets_create",
    Answer(201, answers.Widget(), ("Location",)),
    body=schemas.CREATE,
    refuses=(Forbidden, PremiumRequired),
    leads_to=tuple(f"widgets_{name}" for name in ("show", "update", "delete", "stats", "config", "submit", "count_event")),
)
async def create(request: web.Request) -> web.Response:
    """Make a widget, within what the caller's plan holds."""
    values = await read_object(request)
    user_id, widget_id = request[keys.CALLER].user_id, ids.new_id()
    row = await request.app[keys.DATABASE].change(
        "widgets.create", user_id, widget_id, ids.created_at(widget_id), *columns(values), FREE, PREMIUM
    )
    if row is None:
        raise await limit_reached(request)
    return reply(row, status=201, headers={"Location": f"/api/widgets/{widget_id}"})


def columns(values: dict[str, Any]) -> list[Any]:
    """Return what is given of a widget, in the order of its columns, with nulls for the rest."""
    settings = values.get("settings")
    return [(dump(settings) if name == "settings" and settings is not None else values.get(name)) for name in COLUMNS]


async def limit_reached(request: web.Request) -> Forbidden | PremiumRequired:
    user = await request.app[keys.DATABASE].row("users.own", request[keys.CALLER].user_id)
    if user is not None and user["is_premium"]:
        return Forbidden(f"An account holds {PREMIUM} widgets at most.")
    return PremiumRequired(f"A free account holds {FREE} widgets at most, a premium one {PREMIUM}.")


@operation("widgets_show", Answer(200, answers.Widget()), refuses=(NotFound,))
async def show(request: web.Request) -> web.Response:
    """Show one of the caller's widgets."""
    return reply(await find(request, "widgets.one", request[keys.CALLER].user_id))


async def find(request: web.Request, statement: str, *owner: str) -> Row:
    """Read a widget by the id in the path. Raises `NotFound`."""
    widget_id = request.match_info["id"]
    row = await request.app[keys.DATABASE].row(statement, *owner, widget_id) if ids.is_id(widget_id) else None
    if row is None:
        raise NotFound
    return row


@operation("widgets_update", Answer(200, answers.Widget()), body=schemas.CHANGE, refuses=(NotFound,))
async def update(request: web.Request) -> web.Response:
    """Change what is given of one of the caller's widgets."""
    values = await read_object(request)
    widget_id = request.match_info["id"]
    row = ids.is_id(widget_id) and await request.app[keys.DATABASE].change(
        "widgets.update", request[keys.CALLER].user_id, widget_id, *columns(values)
    )
    if not row:
        raise NotFound
    return reply(row)


@operation("widgets_delete", Answer(204), refuses=(NotFound,))
async def delete(request: web.Request) -> web.Response:
    """Delete one of the caller's widgets; its feedback stays."""
    widget_id = request.match_info["id"]
    if not ids.is_id(widget_id) or not await request.app[keys.DATABASE].change(
        "widgets.delete", request[keys.CALLER].user_id, widget_id
    ):
        raise NotFound
    return web.Response(status=204)


@operation("widgets_stats", Answer(200, answers.Stats()), query=schemas.STATS, refuses=(NotFound, PremiumRequired))
async def stats(request: web.Request) -> web.Response:
    """Report a widget's numbers, day by day."""
    wanted = read_query(request)
    user_id = request[keys.CALLER].user_id
    widget = await find(request, "widgets.owned", user_id)
    await request.app[keys.COUNTERS].flush()
    return reply(await report(request.app[keys.DATABASE], user_id, widget, wanted.get("from_"), wanted.get("to"), wanted["tz"]))


@operation("widgets_config", Answer(200, answers.WidgetConfig(), ("ETag",)), Answer(304, None, ("ETag",)), refuses=(NotFound,))
async def config(request: web.Request) -> web.Response:
    """Show what a page needs to show the widget, to anyone, cacheable for a minute."""
    widget = await find(request, "widgets.public")
    shown = reply({name: widget[name] for name in ("id", "username", "type", "theme", "settings")})
    etag = hashlib.blake2b(bytes(shown.body), digest_size=12).hexdigest()  # type: ignore[arg-type]
    headers = {"ETag": f'"{etag}"', "Cache-Control": "public, max-age=60"}
    if not_modified(request, etag):
        return web.Response(status=304, headers=headers)
    shown.headers.update(headers)
    return shown


@operation(
    "widgets_submit",
    RECEIPT,
    body=schemas.SUBMIT,
    headers=SUBMIT_HEADERS,
    refuses=(NotFound, OriginNotAllowed, IdempotencyMismatch, TooManyRequests),
)
async def submit(request: web.Request) -> web.Response:
    """Take feedback through a widget, from the pages that may show it."""
    limits, widget_id = request.app[keys.LIMITS], request.match_info["id"]
    inbox = limits.inbox_of(widget_id)
    sender = await admit(request, inbox)
    values = await read_object(request)
    widget = await find(request, "widgets.public")
    if inbox is None:
        limits.learn(widget_id, widget["username"].lower())
        sender = await admit_to(request, widget["username"].lower(), sender)
    origin, allowed = request.headers.get("Origin"), widget["allowed_origins"]
    if allowed and origin is not None and origin.lower() not in allowed:
        raise OriginNotAllowed
    values["message"] = values["message"] or ""
    try:
        values["metadata"] = schemas.fit(values, widget["type"])
    except ValidationError as error:
        raise invalid(error) from None
    return await store(request, values, sender, user_id=widget["user_id"], widget_id=widget["id"])


@operation(
    "widgets_count_event",
    Answer(204),
    body={JSON: schemas.EVENT, "text/plain": schemas.EVENT},
    refuses=(NotFound, TooManyRequests),
)
async def count_event(request: web.Request) -> web.Response:
    """Count a view or an opening; a page that closes sends it as text/plain (sendBeacon)."""
    await request.app[keys.LIMITS].take((EVENT, caller_bucket(request)))
    values = await read_object(request)
    widget = await find(request, "widgets.public")
    request.app[keys.COUNTERS].count(widget["id"], values["event"])
    return web.Response(status=204)
