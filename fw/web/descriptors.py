"""File descriptors: every connection is one, and the server needs some for itself."""

import logging
import math
import resource
from typing import Final

log = logging.getLogger("fw.server")

OWN: Final = 32
"""What the server opens beside its pool: the listener, name look-ups, files."""
SHARE: Final = 4
"""Of a small limit the server keeps no more than one of so many for itself."""
TELL_SECONDS: Final = 10.0


class Descriptors:
    """Leaves the last descriptors to the server itself, and says in the log that connections are refused for that.

    Once there are none at all no connection to the database can be made, and libuv closes what connects without a word to
    anybody (uv__emfile_trick, in its src/unix/stream.c).
    """

    def __init__(self, pool: int) -> None:
        self._own = pool + OWN
        self._refused = 0
        self._told_at = -math.inf

    def suffice(self, descriptor: int, now: float) -> bool:
        """Tell whether there are enough left beside a new connection's, which is the lowest that was free."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY or descriptor < limit - min(self._own, limit // SHARE):
            return True
        self._refused += 1
        if now - self._told_at >= TELL_SECONDS:
            log.error("too many open files: new connections are closed", extra={"limit": limit, "closed": self._refused})
            self._refused = 0
            self._told_at = now
        return False
