"""File descriptors: every connection takes one, and the server needs some for itself."""

import contextlib
import logging
import math
import resource
from typing import Final

log = logging.getLogger("fw.server")

OWN: Final = 32
"""How many the server opens beside its pool: the listener, name look-ups, files."""
SHARE: Final = 4
"""If the limit is small, the server keeps no more than the n-th part of it for itself."""
TELL_SECONDS: Final = 10.0


class Descriptors:
    """Keeps the last descriptors for the server itself, and logs that connections are closed for that.

    If there are none left no connection to the database can be made, and libuv closes new connections silently
    (uv__emfile_trick in its src/unix/stream.c).
    """

    def __init__(self, pool: int) -> None:
        self._own = pool + OWN
        self._refused = 0
        self._told_at = -math.inf

    def are_scarce(self, descriptor: int) -> bool:
        """Tell whether idle connections have to make room.

        `descriptor` is a new connection's: the lowest number that was free.
        """
        limit, own = self._limits()
        return descriptor >= limit - own

    def suffice(self, descriptor: int, now: float) -> bool:
        """Tell whether a new connection may stay. Half of the server's own are lent until the idle connections are closed."""
        limit, own = self._limits()
        if descriptor < limit - own // 2:
            return True
        self._refused += 1
        if now - self._told_at >= TELL_SECONDS:
            log.error("too many open files: new connections are closed", extra={"limit": limit, "closed": self._refused})
            self._refused = 0
            self._told_at = now
        return False

    def _limits(self) -> tuple[float, int]:
        """Return how many there may be, and how many of them are the server's own."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return (math.inf, 0) if limit == resource.RLIM_INFINITY else (limit, min(self._own, limit // SHARE))


def raise_limit() -> None:
    """Allow as many as the system lets this process have: the usual 1,024 are few."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
