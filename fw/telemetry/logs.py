"""Logs: one JSON object a line, or text for people. They never have what people wrote, secrets, or addresses of any kind."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, NamedTuple

import orjson

from fw.config import LogFormat
from fw.terminal import printable

STANDARD: Final = frozenset((*logging.makeLogRecord({}).__dict__, "message", "asctime", "requests", "taskName"))
"""The attributes of every record; others come from `extra`."""


class Request(NamedTuple):
    """One answered request; `route` is the pattern and not the path, which may have names in it."""

    time: float
    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    bytes: int
    user_id: str | None


class JsonFormatter(logging.Formatter):
    """Formats a record, or a record of many requests, as lines of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        requests = getattr(record, "requests", None)
        if requests is None:
            return json_line({**head(record.created, record), "message": record.getMessage(), **extra(record), **error(record)})
        common = {**head(0, record), "message": "request"}
        return "\n".join(json_line({**common, **fields(request)}) for request in requests)


class TextFormatter(logging.Formatter):
    """Formats the same as text, for people at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        requests = getattr(record, "requests", None)
        if requests is None:
            more = extra(record) | error(record)
            return self._line(record.created, record, record.getMessage(), more)
        return "\n".join(self._line(request.time, record, "request", fields(request)) for request in requests)

    def _line(self, moment: float, record: logging.LogRecord, message: str, more: Mapping[str, Any]) -> str:
        words = (f"{name}={value}" for name, value in more.items() if name not in ("trace", "time"))
        line = printable(" ".join((timestamp(moment), record.levelname, record.name, message, *words)))
        return "\n  ".join((line, *more.get("trace", ())))


def configure(level: str, log_format: LogFormat) -> None:
    """Write everything that is logged to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("yoyo").setLevel(logging.WARNING)
    # They quote subprotocols and cookies that do not fit: a token may be among them.
    for name in ("aiohttp.websocket", "aiohttp.internal"):
        logging.getLogger(name).setLevel(logging.ERROR)


def head(moment: float, record: logging.LogRecord) -> dict[str, Any]:
    return {"time": datetime.fromtimestamp(moment, UTC), "level": record.levelname, "logger": record.name, "pid": os.getpid()}


def timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fields(request: Request) -> dict[str, Any]:
    return {
        "time": datetime.fromtimestamp(request.time, UTC),
        "request_id": request.request_id,
        "method": request.method,
        "route": request.route,
        "status": request.status,
        "ms": round(request.seconds * 1000, 2),
        "bytes": request.bytes,
        "user_id": request.user_id,
    }


def extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in STANDARD}


def error(record: logging.LogRecord) -> dict[str, Any]:
    """Return the type of an exception and where it was raised, without its message, which may quote what people wrote."""
    if not record.exc_info or record.exc_info[1] is None:
        return {}
    return {"error": type(record.exc_info[1]).__name__, "trace": list(trace(record.exc_info[1]))}


def trace(exception: BaseException | None) -> Iterator[str]:
    while exception is not None:
        yield type(exception).__qualname__
        yield from places(exception.__traceback__)
        exception = exception.__cause__ or (None if exception.__suppress_context__ else exception.__context__)


def places(begin: TracebackType | None) -> Iterator[str]:
    for frame in traceback.extract_tb(begin):
        yield f"{frame.filename}:{frame.lineno} {frame.name}"


def json_line(values: Mapping[str, Any]) -> str:
    return orjson.dumps(values, default=str, option=orjson.OPT_UTC_Z).decode()
