"""Runs searches, and other work on many items: few at once, and each search gives what it has found within its time.

Without bounds a few of them would take all connections and processors.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum
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


class Work(Enum):
    """Kinds of work, each of which has a line of its own: what takes long must not hold up what is quick."""

    TEXTS = "to look for a text"
    FLAGS = "to look for unread items"
    MANY = "to change many items, or to add them up"


class _Line:
    """Work that waits for its place, so much at once."""

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
            raise Unavailable("There is too much of this kind under way; try again.") from None
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self.free.release()


class Searches:
    """The work of all users of one process: at most `most` at once of a kind, in the order in which it came."""

    def __init__(self, database: Database, turns: Turns, most: int) -> None:
        self._database = database
        # Of one user only so many are in a line.
        self._turns = turns
        self._lines = {work: _Line(most) for work in Work}

    async def search(self, user_id: str, *arguments: Any, has_text: bool) -> Sequence[Row]:
        """Run `feedback.search`, whose arguments follow the user's id, except for the time. Raises `TooManyRequests`,
        `Unavailable`.
        """
        work = Work.TEXTS if has_text else Work.FLAGS
        async with self.place(user_id, work):
            seconds = CROWDED_SECONDS if self._lines[work].waiting else ALONE_SECONDS
            return await self._database.rows("feedback.search", user_id, *arguments, seconds)

    @asynccontextmanager
    async def place(self, user_id: str, work: Work = Work.MANY) -> AsyncIterator[None]:
        """Hold a place in the line of a kind of work. Raises `TooManyRequests`, `Unavailable`."""
        async with self._turns.turn(user_id), self._lines[work].place():
            yield


SEARCHES: Final[web.AppKey[Searches]] = web.AppKey("searches")
