"""Sockets that have not sent a token yet: how many there may be, from one address and in total."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from fw.inbox.sockets import Socket
from fw.inbox.websocket import Close
from fw.web.limits import too_many_at_once

MOST_OF_ADDRESS: Final = 50
"""An office, or a provider's gateway, may be one address."""
MOST: Final = 1000


class Newcomers:
    """The sockets of this process that wait for their first message."""

    def __init__(self) -> None:
        # In the order in which they came.
        self._waiting: dict[Socket, str] = {}
        self._by_address: Counter[str] = Counter()

    @property
    def count(self) -> int:
        return len(self._waiting)

    @contextmanager
    def admitted(self, address: str, socket: Socket) -> Iterator[None]:
        """Count a socket until it has sent its token. Raises `TooManyRequests` if there are too many of its address.

        If there are too many in total, the one that has waited longest is closed: an honest client sends its token at once.
        """
        if self._by_address[address] >= MOST_OF_ADDRESS:
            raise too_many_at_once("newcomers", MOST_OF_ADDRESS, 10, "Too many sockets have not sent their token yet.")
        if self.count >= MOST:
            oldest = next(iter(self._waiting))
            self._remove(oldest)
            oldest.close(Close.TOO_MANY)
        self._waiting[socket] = address
        self._by_address[address] += 1
        try:
            yield
        finally:
            self._remove(socket)

    def _remove(self, socket: Socket) -> None:
        address = self._waiting.pop(socket, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


NEWCOMERS: Final[web.AppKey[Newcomers]] = web.AppKey("newcomers")
