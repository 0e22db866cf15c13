"""Serves the API's description, a page to read and try it, and a page for each problem."""

import asyncio
from http import HTTPStatus
from pathlib import Path
from typing import Final

import orjson
from aiohttp import hdrs, web

from fw.docs.examples import BY_SLUG, example
from fw.docs.openapi import DESCRIPTION, FILES
from fw.errors import CATALOGUE, NotFound
from fw.web.assets import MEDIA, kept_for, send_asset, send_in_pieces
from fw.web.operation import Answer, operation
from fw.web.templates import HTML, page

MINUTE: Final = kept_for(60)


@operation("docs_description", Answer(200), is_alone=True)
async def description(request: web.Request) -> web.StreamResponse:
    """Describe the API in OpenAPI 3.1."""
    # The first time takes some 50 ms, which would block the event loop.
    body = await asyncio.to_thread(lambda: request.app[DESCRIPTION].json)
    return await send_in_pieces(request, body, {hdrs.CONTENT_TYPE: "application/json", hdrs.CACHE_CONTROL: MINUTE})


@operation("docs_page", Answer(200, media=HTML), is_alone=True)
async def api(request: web.Request) -> web.Response:
    """Show the API's description, to read and to try."""
    return page("docs/api.html", caching=MINUTE)


@operation(
    "docs_asset",
    *(Answer(200, fields=("ETag",), media=media) for media in dict.fromkeys(MEDIA[Path(name).suffix] for name in FILES)),
    Answer(304, fields=("ETag",)),
    refuses=(NotFound,),
    is_alone=True,
)
async def asset(request: web.Request) -> web.StreamResponse:
    """Send a file that the pages need."""
    name = FILES.get(request.match_info["file"])
    if name is None:
        raise NotFound
    return await send_asset(request, name, kept_for(600))


@operation("docs_problems", Answer(200, media=HTML), is_alone=True)
async def problems(request: web.Request) -> web.Response:
    """List all problems."""
    return page("docs/problems.html", caching=MINUTE, problems=sorted(CATALOGUE, key=lambda problem: problem.status))


@operation("docs_problem", Answer(200, media=HTML), refuses=(NotFound,), is_alone=True)
async def problem(request: web.Request) -> web.Response:
    """Explain a problem; the `type` of every error is the path of such a page."""
    found = BY_SLUG.get(request.match_info["slug"])
    if found is None:
        raise NotFound
    return page(
        "docs/problem.html",
        caching=MINUTE,
        title=found.title,
        phrase=f"{found.status} {HTTPStatus(found.status).phrase}",
        slug=found.slug,
        sentence=found.sentence,
        advice=found.advice,
        example=orjson.dumps(example(found), option=orjson.OPT_INDENT_2).decode(),
    )
