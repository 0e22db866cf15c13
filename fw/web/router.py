"""Registers the URL table with aiohttp's router."""

import re
from collections.abc import Sequence
from functools import cache

from aiohttp import hdrs, web

from fw.config import Config
from fw.web import cors
from fw.web.envelope import meet_expectation
from fw.web.route import ACCESS, Access, Origins, Route


@cache
def exact(path: str, paths: frozenset[str]) -> str:
    """Return a path whose parameters do not match the literals in their place in other paths: those have their own methods."""
    segments = path.split("/")
    for place, segment in enumerate(segments):
        literals = {
            other[place]
            for other in (known.split("/") for known in paths)
            if len(other) == len(segments) and other[:place] + other[place + 1 :] == segments[:place] + segments[place + 1 :]
        } - {segment}
        if segment.startswith("{") and literals:
            segments[place] = f"{segment[:-1]}:(?!(?:{'|'.join(sorted(map(re.escape, literals)))})(?:/|$))[^{{}}/]+}}"
    return "/".join(segments)


def add_routes(app: web.Application, routes: Sequence[Route], config: Config) -> None:
    """Register routes, and note who may call each of them, and from which pages."""
    paths = frozenset(line.path for line in routes)
    access: dict[web.AbstractRoute, Access] = {}
    origins: dict[web.ResourceRoute, Origins] = {}
    for line in routes:
        resource = app.router.add_resource(exact(line.path, paths))
        for method in (line.method, hdrs.METH_HEAD) if line.method == hdrs.METH_GET else (line.method,):
            route = resource.add_route(method, line.handler, expect_handler=meet_expectation)
            access[route], origins[route] = line.access, line.origins
    app[ACCESS] = access
    cors.set_up(app, origins, config)
