"""The owner's app: one page, which its modules fill."""

from typing import Final

from aiohttp import web

from fw.web.templates import page

POLICY: Final = {"img-src": "'self' data: https:", "frame-src": "'self'", "form-action": "'self'"}
"""It shows profile images, which are anywhere, and previews of widgets."""


async def inbox(request: web.Request) -> web.Response:
    """Show the app, which looks at the path itself."""
    return page("pages/inbox.html", policy=POLICY)
