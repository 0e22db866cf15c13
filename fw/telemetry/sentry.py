"""Error tracking by Sentry: what went wrong and where, without anything that clients sent."""

import asyncio
from typing import Any, Final, Self

from fw import __version__
from fw.config import Config

FLUSH_SECONDS: Final = 2.0
KEPT: Final = frozenset(
    ("event_id", "timestamp", "platform", "level", "logger", "release", "environment", "sdk", "exception", "logentry", "tags")
)
"""The parts of an event that are sent; the others may have details of requests and machines."""


class ErrorTracking:
    """Sends what is logged as an error to Sentry, if `SENTRY_DSN` is set. Requests never wait for that."""

    def __init__(self, config: Config) -> None:
        self._dsn = config.sentry_dsn

    async def __aenter__(self) -> Self:
        if self._dsn:
            # Imported here: only the extra `sentry` installs it.
            import sentry_sdk
            from sentry_sdk.integrations.logging import LoggingIntegration

            sentry_sdk.init(
                self._dsn,
                release=f"feedbackwave@{__version__}",
                # Each of the others adds details of the request, the process or the machine.
                default_integrations=False,
                integrations=[LoggingIntegration(level=None)],
                include_local_variables=False,
                include_source_context=False,
                max_request_body_size="never",
                max_breadcrumbs=0,
                before_send=scrub,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._dsn:
            import sentry_sdk

            await asyncio.to_thread(sentry_sdk.get_client().close, FLUSH_SECONDS)


def scrub(event: Any, hint: dict[str, Any]) -> Any:
    """Reduce an event to what went wrong, where, and the request's id; messages of exceptions may quote what people wrote."""
    event["tags"] = {
        name: str(value) for name, value in event.get("extra", {}).items() if name in ("request_id", "statement", "sqlstate")
    }
    for exception in event.get("exception", {}).get("values", ()):
        exception["value"] = ""
    if "logentry" in event:
        event["logentry"] = {"message": event["logentry"].get("message", "")}
    for name in event.keys() - KEPT:
        del event[name]
    return event
