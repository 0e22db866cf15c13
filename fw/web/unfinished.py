"""Bounds the memory of requests that are not answered: anybody may begin any number of them, or send more than are answered."""

from heapq import nsmallest
from typing import Final, Protocol

SLOW_BYTES: Final = 256
"""How many bytes a second an honest client sends at least, but for few."""


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
        # In the order in which they began: how many bytes have come, when that was, and when the last ones came.
        self._seen: dict[Connection, tuple[int, float, float]] = {}
        self.size = 0
        """How many bytes have come of all of them."""

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, connection: Connection, size: int, now: float) -> None:
        """Note that more has come of a connection's request."""
        before, begun_at, _ = self._seen.get(connection, (0, now, now))
        self._seen[connection] = before + size, begun_at, now
        self.size += size
        while self.size > self._most:
            self._close(next(iter(self._seen)))

    def close_silent(self, count: int, now: float, age: float) -> bool:
        """Close those that have sent nothing for longest, of all that are older than that: so many, or a part of very many.

        Those that send less than a slow line does come first, however often they send a byte. Closes none if there are fewer:
        they may be honest, and slow. To look at all takes time.
        """
        old: list[tuple[float, int, Connection]] = []
        slow: list[tuple[float, int, Connection]] = []
        for n, (each, (size, begun_at, last_at)) in enumerate(self._seen.items()):
            if now - begun_at > age:
                old.append((last_at, n, each))
                if size < SLOW_BYTES * (now - begun_at):
                    slow.append((last_at, n, each))
        if len(old) < count:
            return False
        for *_, each in nsmallest(max(count, len(old) // 64), slow if len(slow) >= count else old):
            self._close(each)
        return True

    def _close(self, connection: Connection) -> None:
        self.discard(connection)
        connection.drop()

    def discard(self, connection: Connection) -> None:
        """Forget a connection: its requests are answered, or it is closed."""
        self.size -= self._seen.pop(connection, (0, 0.0, 0.0))[0]
