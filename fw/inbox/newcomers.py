"""Sockets that have not sent a token yet: how many there may be, from one address and in total."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
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
        self._waits: set[asyncio.Timeout] = set()
        self.is_closed = False
        self.count = 0

    def close(self) -> None:
        """End all waits: the server is stopping."""
        self.is_closed = True
        for wait in self._waits:
            if not wait.expired():
                wait.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        """Bound a block to so many seconds, and to when the server stops. Raises `TimeoutError`."""
        async with asyncio.timeout(0 if self.is_closed else seconds) as wait:
            self._waits.add(wait)
            try:
                yield
            finally:
                self._waits.discard(wait)

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
