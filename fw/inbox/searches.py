"""Runs searches: each is bounded in time and gives what it has found until then, and few are run at once.

A search may have to look at every item of an inbox, so without bounds a few of them would take all connections and processors.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from fw.database.pool import Database, Row
from fw.errors import Unavailable
from fw.web.turns import Turns

ALONE_SECONDS: Final = 0.7
"""How long a search may take. With the way there and back a client has its answer within about a second."""
CROWDED_SECONDS: Final = 0.1
"""The same if others wait: each page is shorter then, and everybody goes on."""
WAIT_SECONDS: Final = 5.0
"""How long a search waits until it is begun."""


class _Line:
    """Searches that wait for each other, so many at once."""

    def __init__(self, most: int) -> None:
        self.free = asyncio.Semaphore(most)
        self.waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place. Raises `Unavailable` if none is free in time."""
        self.waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self.free.acquire()
        except TimeoutError:
            raise Unavailable("There are too many searches under way; try again.") from None
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self.free.release()


class Searches:
    """Searches of all users of one process: at most `most` at once of a kind, in the order in which they came."""

    def __init__(self, database: Database, turns: Turns, most: int) -> None:
        self._database = database
        # Of one user only so many are in a line.
        self._turns = turns
        # To look for a text takes much longer than to look for unread items, which has a line of its own.
        self._lines = {True: _Line(most), False: _Line(most)}

    async def search(self, user_id: str, *arguments: Any, has_text: bool) -> Sequence[Row]:
        """Run `feedback.search`, whose arguments follow the user's id, except for the time. Raises `TooManyRequests`,
        `Unavailable`.
        """
        async with self.place(user_id, has_text=has_text):
            seconds = CROWDED_SECONDS if self._lines[has_text].waiting else ALONE_SECONDS
            return await self._database.rows("feedback.search", user_id, *arguments, seconds)

    @asynccontextmanager
    async def place(self, user_id: str, *, has_text: bool = True) -> AsyncIterator[None]:
        """Hold a place in a line: for what may read or change very many rows. Raises `TooManyRequests`, `Unavailable`."""
        async with self._turns.turn(user_id), self._lines[has_text].place():
            yield


SEARCHES: Final[web.AppKey[Searches]] = web.AppKey("searches")
