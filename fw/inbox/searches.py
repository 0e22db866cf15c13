"""Runs searches: each is bounded in time and gives what it has found until then, and few are run at once.

A search may have to look at every item of an inbox, so without bounds a few of them would take all connections and processors.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web

from fw.database.pool import Database, Row
from fw.errors import Unavailable
from fw.web.turns import Turns

ALONE_SECONDS: Final = 0.7
"""How long a search may take. With the way there and back a client has its answer within about a second."""
CROWDED_SECONDS: Final = 0.15
"""The same if others wait: each page is shorter then, and everybody goes on."""
WAIT_SECONDS: Final = 5.0
"""How long a search waits until it is begun."""


class Searches:
    """Searches of all users of one process: at most `most` at once, in the order in which they came."""

    def __init__(self, database: Database, turns: Turns, most: int) -> None:
        self._database = database
        # Of one user only so many are in the line.
        self._turns = turns
        self._free = asyncio.Semaphore(most)
        self._waiting = 0

    async def search(self, user_id: str, *arguments: Any) -> Sequence[Row]:
        """Run `feedback.search`, whose arguments follow the user's id, except for the time. Raises `TooManyRequests`,
        `Unavailable`.
        """
        async with self._turns.turn(user_id):
            await self._begin()
            try:
                seconds = CROWDED_SECONDS if self._waiting else ALONE_SECONDS
                return await self._database.rows("feedback.search", user_id, *arguments, seconds)
            finally:
                self._free.release()

    async def _begin(self) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._free.acquire()
        except TimeoutError:
            raise Unavailable("There are too many searches under way; try again.") from None
        finally:
            self._waiting -= 1


SEARCHES: Final[web.AppKey[Searches]] = web.AppKey("searches")
