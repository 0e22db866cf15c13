"""Collects answered requests, and hands many at once to the log and the metrics, which takes less time for each of them."""

import logging
from time import perf_counter
from time import time as now
from typing import Any, Final, Self

from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger

from fw.accounts.tokens import CALLER
from fw.background import Background
from fw.telemetry.logs import Request
from fw.telemetry.metrics import Metrics
from fw.web.trace import TRACE

log = logging.getLogger("fw.access")

EVERY_SECONDS: Final = 0.25
MOST: Final = 1000
UNMATCHED: Final = "unmatched"
NO_METHOD: Final = "UNKNOWN"
"""The method of a request that aiohttp could not parse, and so did not route."""


class RequestLog:
    """Keeps the requests of the last quarter of a second, then logs and counts them together."""

    def __init__(self, metrics: Metrics, background: Background) -> None:
        self._metrics = metrics
        self._noted: list[tuple[Any, ...]] = []
        self._task = background.every("observer", lambda: EVERY_SECONDS, self._flush_now)

    async def __aenter__(self) -> Self:
        await self._task.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._task.__aexit__()
        self.flush()

    async def _flush_now(self) -> None:
        self.flush()

    def note(self, values: tuple[Any, ...]) -> None:
        """Keep a request, given as the values of a `Request`."""
        self._noted.append(values)
        if len(self._noted) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Log the requests that were kept, and bring the metrics up to date."""
        requests = [Request._make(values) for values in self._noted]
        self._noted.clear()
        self._metrics.observe(requests)
        self._metrics.refresh()
        if requests and log.isEnabledFor(logging.INFO):
            log.info("requests", extra={"requests": requests})


REQUEST_LOG: Final[web.AppKey[RequestLog]] = web.AppKey("request_log")


class AccessLog(AbstractAccessLogger):
    """Called by aiohttp for every request, even if it was no valid HTTP; `logger` is a `RequestLog`."""

    __slots__ = ()

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        request_log: Any = self.logger
        try:
            request_id, begun_at = request[TRACE]
            # aiohttp's own time is by the event loop's clock, which counts whole milliseconds.
            time = perf_counter() - begun_at
        except KeyError:
            # A request that is no valid HTTP does not reach the middlewares.
            request_id = ""
        # `flush` makes it a `Request`, outside of the time of the request.
        request_log.note(
            (
                now(),
                request_id,
                request.method,
                route_of(request),
                response.status,
                time,
                response.body_length,
                user_of(request),
            )
        )


def route_of(request: web.BaseRequest) -> str:
    """Return the pattern of the request's route; `UNMATCHED` if it has none."""
    if request.method == NO_METHOD or not isinstance(request, web.Request):
        return UNMATCHED
    resource = request.match_info.route.resource
    return resource.canonical if resource else UNMATCHED


def user_of(request: web.BaseRequest) -> str | None:
    # Most requests carry no token, and to look for the caller of one raises an exception inside aiohttp.
    headers = request.headers
    may_have_caller = hdrs.AUTHORIZATION in headers or hdrs.COOKIE in headers or hdrs.UPGRADE in headers
    if may_have_caller and CALLER in request:
        return request[CALLER].user_id
    return None
