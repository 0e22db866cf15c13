"""The files that pages load."""

from typing import Final

from aiohttp import web

from fw.errors import NotFound
from fw.web.assets import FOR_GOOD, files, kept_for, send_asset, version

IMMUTABLE: Final = f"{kept_for(FOR_GOOD)}, immutable"
OTHER_VERSION: Final = "no-cache"


async def file(request: web.Request) -> web.StreamResponse:
    """Send a file. While a new release is rolled out a page may ask for another version than this one: it gets what is here."""
    name = request.match_info["path"]
    if name not in files():
        raise NotFound
    return await send_asset(request, name, IMMUTABLE if request.match_info["version"] == version() else OTHER_VERSION)
