"""Takes note of requests, and hands many at once to the log and the metrics: so it costs each of them little."""

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
from fw.web.envelope import TRACE

log = logging.getLogger("fw.access")

EVERY_SECONDS: Final = 0.25
MOST: Final = 1000
UNMATCHED: Final = "unmatched"
NO_METHOD: Final = "UNKNOWN"
"""What aiohttp gives to a request that it could not parse; it has been routed nowhere."""


class Observer:
    """Knows the requests of the last moment."""

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
        """Take note of a request, by the values of a `Request`."""
        self._noted.append(values)
        if len(self._noted) >= MOST:
            self.flush()

    def flush(self) -> None:
        """Write down what has been noted, and have the metrics up to date."""
        requests = [Request._make(values) for values in self._noted]
        self._noted.clear()
        self._metrics.observe(requests)
        self._metrics.refresh()
        if requests and log.isEnabledFor(logging.INFO):
            log.info("requests", extra={"requests": requests})


OBSERVER: Final[web.AppKey[Observer]] = web.AppKey("observer")


class AccessLog(AbstractAccessLogger):
    """What the server tells of every request, also of those that were not even HTTP; `logger` is an `Observer`."""

    __slots__ = ()

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        observer: Any = self.logger
        try:
            request_id, begun_at = request[TRACE]
            # Not the time that the server has taken: its clock is the event loop's, which counts milliseconds.
            time = perf_counter() - begun_at
        except KeyError:
            # What is not even HTTP has come past the middlewares.
            request_id = ""
        # Made a `Request` of when there is time.
        observer.note(
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
    """Return the pattern of the request's route."""
    if request.method == NO_METHOD or not isinstance(request, web.Request):
        return UNMATCHED
    resource = request.match_info.route.resource
    return resource.canonical if resource else UNMATCHED


def user_of(request: web.BaseRequest) -> str | None:
    # Asked only where there may be one: most requests carry no token, and the answer would be an exception.
    if (hdrs.AUTHORIZATION in request.headers or hdrs.UPGRADE in request.headers) and CALLER in request:
        return request[CALLER].user_id
    return None
