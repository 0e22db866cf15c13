"""What links lead to: a forgotten password, and the new one."""

from aiohttp import web

from fw.web.templates import page


async def forgot(request: web.Request) -> web.Response:
    """Say how a forgotten password is reset."""
    return page("pages/forgot.html")


async def reset(request: web.Request) -> web.Response:
    """Ask for the new password. The token stands in the fragment of the link, which no server sees."""
    return page("pages/reset.html")
