"""A site of somebody else's, on an origin of its own, that shows our widgets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.support.people import Person

STRICT = "default-src 'none'; script-src {host}; connect-src {host}"
"""The strictest policy that a site with the widget may have: the two lines that the README asks for."""


@dataclass
class Site:
    """The site's pages, by path; what they may load is up to its policy."""

    server: TestServer
    host: str
    """The origin of our service."""
    policy: str
    pages: dict[str, str] = field(default_factory=dict)

    def url(self, path: str = "/") -> str:
        return str(self.server.make_url(path))

    def show(self, *parts: str, path: str = "/", head: str = "", attributes: str = "") -> str:
        """Set a page, and return its URL."""
        body = "\n".join(parts)
        self.pages[path] = (
            f"<!doctype html><html {attributes}><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>Site</title>{head}</head><body><main><h1>A site</h1><p><a href='#top'>A link</a></p>{body}</main></body>"
        )
        return self.url(path)

    def tag(self, widget: dict[str, str], **data: str) -> str:
        """Return the script tag of a widget."""
        rest = "".join(f' data-{name}="{value}"' for name, value in data.items())
        return f'<script async src="{self.host}/widget.js" data-widget="{widget["id"]}"{rest}></script>'


@asynccontextmanager
async def site_of(client: TestClient, policy: str = STRICT) -> AsyncIterator[Site]:
    """Serve a site whose widgets are the client's server's."""
    host = str(client.make_url("/")).rstrip("/")

    async def page(request: web.Request) -> web.Response:
        if request.path not in site.pages:
            return web.Response(status=204)
        headers = {"Content-Security-Policy": site.policy}
        return web.Response(text=site.pages[request.path], content_type="text/html", headers=headers)

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    # Another port is another origin.
    async with TestServer(app) as server:
        site = Site(server, host, policy.format(host=host))
        yield site


async def received(owner: Person) -> list[tuple[str, dict[str, object]]]:
    """Return the messages of an inbox with their metadata, oldest first."""
    items = (await owner.inbox(limit=100))["items"]
    return [(item["message"], item["metadata"]) for item in reversed(items)]
