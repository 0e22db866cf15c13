"""Bounds the memory of requests that have not come whole: anybody may begin any number of them."""

import asyncio
from typing import Protocol


class Connection(Protocol):
    @property
    def transport(self) -> asyncio.Transport | None: ...


class Unfinished:
    """The connections whose requests have not come whole. If these have too many bytes in all, the oldest are closed.

    Honest ones are whole within a moment, so those that are meant to fill the memory are the oldest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # In the order in which they began.
        self._sizes: dict[Connection, int] = {}
        self.size = 0
        """How many bytes have come of all of them."""

    def add(self, connection: Connection, size: int) -> None:
        """Note that more has come of a connection's request."""
        self._sizes[connection] = self._sizes.get(connection, 0) + size
        self.size += size
        while self.size > self._most:
            oldest = next(iter(self._sizes))
            self.discard(oldest)
            if oldest.transport is not None:
                oldest.transport.abort()

    def discard(self, connection: Connection) -> None:
        """Forget a connection: its request has come whole, or it is closed."""
        self.size -= self._sizes.pop(connection, 0)
