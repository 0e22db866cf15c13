"""The owner's app: one page, which its modules fill."""

import re
from functools import cache
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Final

from aiohttp import web

from fw.web.assets import files
from fw.web.templates import SENDS_FORMS, SHOWS_PROFILES, page

POLICY: Final = {**SHOWS_PROFILES, **SENDS_FORMS, "frame-src": "'self'"}
"""The frames are previews of widgets."""
MAIN: Final = "inbox/main.js"
IMPORTED: Final = re.compile(r'\bfrom ?"(\.[^"]+)"')


@cache
def modules() -> tuple[str, ...]:
    """Return the modules that the app starts with, the first one first: named by the page, all of them are loaded at once."""
    found = [MAIN]
    for name in found:
        folder = PurePosixPath(name).parent
        imported = IMPORTED.findall(files()[name].read_text(encoding="utf-8"))
        found += [path for path in dict.fromkeys(normpath(folder / path) for path in imported) if path not in found]
    return tuple(found)


async def inbox(request: web.Request) -> web.Response:
    """Show the app, which looks at the path itself."""
    return page("pages/inbox.html", policy=POLICY, modules=modules())
