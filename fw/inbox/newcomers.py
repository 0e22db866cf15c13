"""Sockets that have not sent a token yet: how many there may be, from one address and in total."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import web

from fw.web.limits import too_many_at_once

MOST_OF_ADDRESS: Final = 50
"""An office, or a provider's gateway, may be one address."""
MOST: Final = 1000


class Newcomers:
    """Counts the sockets of this process that wait for their first message."""

    def __init__(self) -> None:
        self._by_address: Counter[str] = Counter()
        self.count = 0

    @contextmanager
    def admitted(self, address: str) -> Iterator[None]:
        """Count a socket until it has sent its token. Raises `TooManyRequests` if there are too many."""
        if self._by_address[address] >= MOST_OF_ADDRESS or self.count >= MOST:
            raise too_many_at_once("newcomers", MOST_OF_ADDRESS, 10, "Too many sockets have not sent their token yet.")
        self._by_address[address] += 1
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]


NEWCOMERS: Final[web.AppKey[Newcomers]] = web.AppKey("newcomers")
