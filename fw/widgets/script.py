"""Serves the widget itself, to any site."""

from typing import Final

from aiohttp import web

from fw.web.assets import send_asset
from fw.web.operation import Answer, operation

CACHED: Final = 300
"""Seconds for which browsers keep it."""


@operation(
    "widgets_script",
    Answer(200, fields=("ETag",), media="text/javascript"),
    Answer(304, fields=("ETag",)),
    is_alone=True,
)
async def script(request: web.Request) -> web.StreamResponse:
    """Send the script that shows a widget on any site."""
    return await send_asset(request, "widget.js", CACHED)
