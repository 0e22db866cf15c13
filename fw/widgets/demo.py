"""Widgets to try: the real one with settings that stand in its path. Nothing of them is stored."""

import base64
from typing import Any, Final

from aiohttp import web
from marshmallow import fields, validate

from fw.errors import Invalid, MalformedJson, NotFound
from fw.ids import created_at, new_id
from fw.web.assets import kept_for
from fw.web.request import parse_object, read_body
from fw.web.request import validate as validate_values
from fw.web.response import reply
from fw.web.schemas import Body
from fw.web.templates import page
from fw.widgets.script import send_script
from fw.widgets.widget import THEMES, TYPES, Settings

PAGE_POLICY: Final = {"frame-ancestors": "'self'"}
"""The owner's app shows it in a frame."""


class Demo(Body):
    """What stands in the path, as base64url of JSON."""

    component = "WidgetDemo"
    type = fields.String(required=True, validate=validate.OneOf(TYPES))
    theme = fields.String(load_default="light", validate=validate.OneOf(THEMES))
    settings = fields.Nested(Settings, load_default=dict)


DEMO: Final = Demo()


def demo_of(request: web.Request) -> dict[str, Any]:
    """Return the widget in the path. Raises `NotFound` if it is none."""
    packed = request.match_info["packed"]
    try:
        raw = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        return validate_values(DEMO, parse_object(raw))
    except (ValueError, MalformedJson, Invalid):
        raise NotFound from None


async def script(request: web.Request) -> web.StreamResponse:
    """Send the widget; it looks for its settings beside its own path."""
    return await send_script(request)


async def show(request: web.Request) -> web.Response:
    """Show a page that has nothing but the widget."""
    return page("pages/demo.html", policy=PAGE_POLICY, demo=demo_of(request), id=new_id())


async def config(request: web.Request) -> web.Response:
    """Tell the widget its settings."""
    shown = {"id": request.match_info["id"], "username": "demo", **demo_of(request)}
    return reply(shown, headers={"Cache-Control": kept_for(60)})


async def submit(request: web.Request) -> web.Response:
    """Answer as if the feedback had been stored."""
    await read_body(request)
    feedback_id = new_id()
    return reply({"id": feedback_id, "created_at": created_at(feedback_id)}, status=201)


async def count_event(request: web.Request) -> web.Response:
    """Count nothing."""
    await read_body(request)
    return web.Response(status=204)
