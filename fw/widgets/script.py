"""The widget itself, one file for any site."""

from typing import Final

from aiohttp import web

from fw.web.assets import kept_for, send_asset
from fw.web.operation import Answer, operation

KEPT_SECONDS: Final = 300
"""A new release reaches all sites after this time."""


async def send_script(request: web.Request) -> web.StreamResponse:
    return await send_asset(request, "widget.js", kept_for(KEPT_SECONDS))


@operation(
    "widgets_script",
    Answer(200, fields=("ETag",), media="text/javascript"),
    Answer(304, fields=("ETag",)),
    is_alone=True,
)
async def script(request: web.Request) -> web.StreamResponse:
    """Send the widget that sites include: `<script async src="https://HOST/widget.js" data-widget="ID"></script>`."""
    return await send_script(request)
