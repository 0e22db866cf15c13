"""Serves the API's description, a page to read and try it, and a page for each problem."""

import asyncio
from html import escape
from http import HTTPStatus
from string import Template
from typing import Final

import orjson
from aiohttp import hdrs, web

from fw.docs.examples import BY_SLUG, example
from fw.docs.openapi import DESCRIPTION
from fw.errors import CATALOGUE, NotFound
from fw.web.assets import ASSETS, STATIC, cached, send_asset, send_in_pieces
from fw.web.operation import Answer, operation

HTML: Final = "text/html"
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What our pages may load: files of this server, and the pictures inside Swagger UI's style sheet."""


@operation("docs_description", Answer(200), is_alone=True)
async def description(request: web.Request) -> web.StreamResponse:
    """Describe the API in OpenAPI 3.1."""
    # The first time takes some 50 ms, which would block the event loop.
    body = await asyncio.to_thread(lambda: request.app[DESCRIPTION].json)
    return await send_in_pieces(request, body, {hdrs.CONTENT_TYPE: "application/json", **cached(60)})


@operation("docs_page", Answer(200, media=HTML), is_alone=True)
async def page(request: web.Request) -> web.Response:
    """Show the API's description, to read and to try."""
    return show("docs.html")


@operation(
    "docs_asset",
    *(Answer(200, fields=("ETag",), media=media) for media in dict.fromkeys(ASSETS.values())),
    Answer(304, fields=("ETag",)),
    refuses=(NotFound,),
    is_alone=True,
)
async def asset(request: web.Request) -> web.StreamResponse:
    """Send a file that the pages need."""
    name = request.match_info["file"]
    if name not in ASSETS:
        raise NotFound
    return await send_asset(request, name)


@operation("docs_problems", Answer(200, media=HTML), is_alone=True)
async def problems(request: web.Request) -> web.Response:
    """List all problems."""
    rows = "".join(
        f'<tr><td>{problem.status}</td><td><a href="problems/{problem.slug}">{escape(problem.title)}</a></td>'
        f"<td>{escape(problem.sentence)}</td></tr>"
        for problem in sorted(CATALOGUE, key=lambda problem: problem.status)
    )
    return show("problems.html", rows=rows)


@operation("docs_problem", Answer(200, media=HTML), refuses=(NotFound,), is_alone=True)
async def problem(request: web.Request) -> web.Response:
    """Explain a problem; the `type` of every error is the path of such a page."""
    found = BY_SLUG.get(request.match_info["slug"])
    if found is None:
        raise NotFound
    return show(
        "problem.html",
        title=escape(found.title),
        status=f"{found.status} {HTTPStatus(found.status).phrase}",
        slug=found.slug,
        sentence=escape(found.sentence),
        advice=escape(found.advice),
        example=escape(orjson.dumps(example(found), option=orjson.OPT_INDENT_2).decode()),
    )


def show(name: str, **values: str) -> web.Response:
    """Return a page: a template of `static` with these values."""
    text = Template((STATIC / name).read_text(encoding="utf-8")).substitute(values)
    headers = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "no-referrer", **cached(60)}
    return web.Response(text=text, content_type=HTML, headers=headers)
