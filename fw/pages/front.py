"""The front page: what this is, a widget to try, and where to begin."""

import base64
from typing import Final

import orjson
from aiohttp import web

from fw.web.templates import page

TRIED: Final = {
    "type": "nps",
    "theme": "auto",
    "settings": {
        "title": "How likely are you to put this on your own site?",
        "thank_you": "Thank you! This one was a demonstration: nothing was stored.",
    },
}
DEMO: Final = base64.urlsafe_b64encode(orjson.dumps(TRIED)).decode().rstrip("=")
"""The widget that can be tried, as the paths of demonstrations have it."""


async def front(request: web.Request) -> web.Response:
    """Show the front page."""
    return page("pages/front.html", demo=DEMO)
