"""What a request is known by: its id, and when it began."""

import re
from time import perf_counter
from typing import Final

from aiohttp import web
from multidict import istr

from fw.ids import new_id

X_REQUEST_ID: Final = istr("X-Request-ID")
TRACE: Final[web.RequestKey[tuple[str, float]]] = web.RequestKey("trace")
"""A request's id, and when it began by `time.perf_counter`."""
SANE_ID: Final = re.compile(r"[A-Za-z0-9._~:/+=-]{1,128}")


def identify(request: web.BaseRequest) -> str:
    """Give a request its id (the client's, if it sent a well-formed one, else a new one), note when it began, return the id."""
    sent = request.headers.get(X_REQUEST_ID)
    known = sent if sent is not None and SANE_ID.fullmatch(sent) else new_id()
    request[TRACE] = known, perf_counter()
    return known


def request_id(request: web.BaseRequest) -> str:
    """Return the id of a request; one that has passed no middleware gets it now."""
    try:
        return request[TRACE][0]
    except KeyError:
        return identify(request)
