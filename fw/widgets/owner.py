"""Widgets: the calls of their owners."""

from typing import Any, Final

from aiohttp import web
from marshmallow import fields, validate

from fw import ids
from fw.accounts.tokens import CALLER
from fw.database.pool import DATABASE
from fw.errors import Forbidden, NotFound, PremiumRequired
from fw.inbox.metadata import dump
from fw.web.fields import Flag, Text
from fw.web.lists import Paged, page_of
from fw.web.operation import Answer, operation
from fw.web.request import path_id, read_object, read_query
from fw.web.response import reply
from fw.web.schemas import Body, Output, at_least_one
from fw.widgets.widget import THEMES, TYPES, Settings, Widget, find_widget

FREE: Final = 3
PREMIUM: Final = 100
COLUMNS: Final = ("name", "type", "theme", "settings", "is_active")


class Widgets(Output):
    component = "Widgets"
    items = fields.List(fields.Nested(Widget), required=True)
    next = fields.String(required=True, allow_none=True)


class Change(Body):
    """Any part of a widget; at least one."""

    component = "WidgetChange"
    name = Text(1, 100, trim=True, example="Footer")
    type = fields.String(validate=validate.OneOf(TYPES))
    theme = fields.String(validate=validate.OneOf(THEMES))
    settings = fields.Nested(Settings)
    is_active = Flag()
    _something = at_least_one("name", "type", "theme", "settings", "is_active")


class Create(Body):
    component = "WidgetCreate"
    name = Text(1, 100, trim=True, example="Footer", required=True)
    type = fields.String(required=True, validate=validate.OneOf(TYPES))
    theme = fields.String(load_default="light", validate=validate.OneOf(THEMES))
    settings = fields.Nested(Settings, load_default=dict)
    is_active = Flag(load_default=True)


@operation("widgets_list_own", Answer(200, Widgets()), query=Paged())
async def list_own(request: web.Request) -> web.Response:
    """List the caller's widgets, newest first."""
    wanted = read_query(request)
    below = wanted.get("after", ids.HIGHEST)
    rows = await request.app[DATABASE].rows("widgets.list", request[CALLER].user_id, below, wanted["limit"] + 1)
    return reply(page_of(rows, wanted["limit"]))


@operation(
    "widgets_create",
    Answer(201, Widget(), ("Location",)),
    body=Create(),
    refuses=(Forbidden, PremiumRequired),
    leads_to=tuple(f"widgets_{name}" for name in ("show", "update", "delete", "stats", "config", "submit", "count_event")),
)
async def create(request: web.Request) -> web.Response:
    """Make a widget, unless the caller has as many as the plan allows."""
    values = await read_object(request)
    user_id, widget_id = request[CALLER].user_id, ids.new_id()
    row = await request.app[DATABASE].change(
        "widgets.create", user_id, widget_id, ids.created_at(widget_id), *columns(values), FREE, PREMIUM
    )
    if row is None:
        raise await limit_reached(request)
    return reply(row, status=201, headers={"Location": f"/api/widgets/{widget_id}"})


def columns(values: dict[str, Any]) -> list[Any]:
    """Return the given values of a widget, in the order of `COLUMNS`, with None for the rest."""
    settings = values.get("settings")
    return [(dump(settings) if name == "settings" and settings is not None else values.get(name)) for name in COLUMNS]


async def limit_reached(request: web.Request) -> Forbidden | PremiumRequired:
    user = await request.app[DATABASE].row("users.own", request[CALLER].user_id)
    if user is not None and user["is_premium"]:
        return Forbidden(f"An account holds {PREMIUM} widgets at most.")
    return PremiumRequired(f"A free account holds {FREE} widgets at most, a premium one {PREMIUM}.")


@operation("widgets_show", Answer(200, Widget()), refuses=(NotFound,))
async def show(request: web.Request) -> web.Response:
    """Show one of the caller's widgets."""
    return reply(await find_widget(request, "widgets.one", request[CALLER].user_id))


@operation("widgets_update", Answer(200, Widget()), body=Change(), refuses=(NotFound,))
async def update(request: web.Request) -> web.Response:
    """Change the given fields of one of the caller's widgets."""
    values = await read_object(request)
    row = await request.app[DATABASE].change("widgets.update", request[CALLER].user_id, path_id(request), *columns(values))
    if row is None:
        raise NotFound
    return reply(row)


@operation("widgets_delete", Answer(204), refuses=(NotFound,))
async def delete(request: web.Request) -> web.Response:
    """Delete one of the caller's widgets; its feedback stays."""
    if await request.app[DATABASE].change("widgets.delete", request[CALLER].user_id, path_id(request)) is None:
        raise NotFound
    return web.Response(status=204)
