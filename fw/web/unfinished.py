"""Bounds the memory of requests that are not answered: anybody may begin any number of them, or send more than are answered."""

from itertools import islice
from typing import Protocol


class Connection(Protocol):
    def drop(self) -> None:
        """Close it at once, and let go of what has come."""


class Unfinished:
    """The connections with requests that have not come whole, are long, or wait for their turn. If too many bytes have come
    of all of them, the oldest are closed.

    Honest ones are answered within a moment, so those that are meant to fill the memory are the oldest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # In the order in which they began, and when that was.
        self._sizes: dict[Connection, tuple[int, float]] = {}
        self.size = 0
        """How many bytes have come of all of them."""

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, connection: Connection, size: int, now: float) -> None:
        """Note that more has come of a connection's request."""
        before, begun_at = self._sizes.get(connection, (0, now))
        self._sizes[connection] = before + size, begun_at
        self.size += size
        while self.size > self._most:
            self._close(next(iter(self._sizes)))

    def close_oldest(self, count: int, begun_before: float) -> bool:
        """Close so many of the oldest, if all of them began before then: a few may be honest, and slow."""
        oldest = list(islice(self._sizes.items(), count))
        are_old = len(oldest) == count and oldest[-1][1][1] < begun_before
        if are_old:
            for each, _ in oldest:
                self._close(each)
        return are_old

    def _close(self, connection: Connection) -> None:
        self.discard(connection)
        connection.drop()

    def discard(self, connection: Connection) -> None:
        """Forget a connection: its requests are answered, or it is closed."""
        self.size -= self._sizes.pop(connection, (0, 0.0))[0]
