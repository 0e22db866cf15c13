"""Cross-origin requests, by aiohttp-cors: what pages of other sites may call."""

from collections.abc import Mapping

import aiohttp_cors
from aiohttp import hdrs, web

from fw.config import Config
from fw.web.envelope import EXPOSED
from fw.web.origin import ORIGIN_CHARACTERS
from fw.web.route import Origins


def options(origins: Origins, config: Config) -> Mapping[str, aiohttp_cors.ResourceOptions]:
    """Return which origins may call a route. No credentials are allowed: pages send tokens themselves, browsers add none."""
    allowed = {Origins.ANY: ("*",), Origins.API: tuple(config.cors_origins), Origins.NONE: ()}[origins]
    shared = aiohttp_cors.ResourceOptions(expose_headers=EXPOSED, allow_headers="*", max_age=600)  # type: ignore[no-untyped-call]
    return dict.fromkeys(allowed, shared)


def set_up(app: web.Application, routes: Mapping[web.ResourceRoute, Origins], config: Config) -> None:
    """Have preflights answered, and CORS headers put on the routes' responses, errors too."""
    cors = aiohttp_cors.setup(app)
    for resource in dict.fromkeys(route.resource for route in routes):
        # The resource allows nothing by itself: each of its routes says what it allows.
        cors.add(resource, {})
    for route, origins in routes.items():
        cors.add(route, options(origins, config))
    # aiohttp-cors looks up the route's rules before it checks for an Origin, which most requests do not have.
    add_cors_headers = app.on_response_prepare.pop()

    async def answer_origin(request: web.Request, response: web.StreamResponse) -> None:
        if 0 < len(request.headers.get(hdrs.ORIGIN, "")) <= ORIGIN_CHARACTERS:
            await add_cors_headers(request, response)

    app.on_response_prepare.append(answer_origin)
