"""Pages that are filled in, by Jinja2: every value is escaped."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from aiohttp import hdrs, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from fw.errors import Problem
from fw.web.assets import static_path

ROOT: Final = Path(__file__).parent.parent / "templates"
HTML: Final = "text/html"
POLICY: Final[Mapping[str, str]] = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""What our pages may load: files of this server, and pictures inside a style sheet."""
SENDS_FORMS: Final[Mapping[str, str]] = {"form-action": "'self'"}
SHOWS_PROFILES: Final[Mapping[str, str]] = {"img-src": "'self' data: https:"}
"""Profile images are anywhere."""


@cache
def templates() -> Environment:
    """Read and compile all templates: some 70 ms, which a server spends before it starts."""
    environment = Environment(
        loader=FileSystemLoader(ROOT),
        # Only mails have parts in plain text.
        autoescape=select_autoescape(disabled_extensions=("txt",), default=True, default_for_string=True),
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static_path
    for name in environment.list_templates():
        environment.get_template(name)
    return environment


def fill(name: str, **values: Any) -> str:
    """Return a template with these values."""
    return templates().get_template(name).render(values)


def page(
    name: str,
    *,
    problem: Problem | None = None,
    caching: str = "no-store",
    policy: Mapping[str, str] | None = None,
    **values: Any,
) -> web.Response:
    """Return a page: a template with these values, with the status and the headers of a problem if it is about one.

    `policy` has what it may load beside what all may, by directive.
    """
    directives = {**POLICY, **(policy or {})}
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in directives.items()),
        "Referrer-Policy": "no-referrer",
        hdrs.CACHE_CONTROL: caching,
        **(problem.headers if problem else {}),
    }
    return web.Response(
        text=fill(name, **values), status=problem.status if problem else 200, content_type=HTML, headers=headers
    )
