"""Bounds how many readers (live sockets and waiting long polls) a user has, over all processes and hosts together.

A process leases places in PostgreSQL. It leases one more when it needs it, and gives back those that have been free for a
moment, so a reader that connects again at once costs no statement, and neither does an event. The leases of a killed process
expire.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Final, Self

from aiohttp import web

from fw.background import Background
from fw.database.pool import Database
from fw.errors import Problem, TooManyRequests, Unavailable
from fw.ids import new_id
from fw.web.limits import too_many_at_once

log = logging.getLogger("fw.readers")

MOST: Final = 20
"""How many readers one user may have."""
BEAT_SECONDS: Final = 5.0
"""How often a process notes that it is alive; if it has not for 20 s, its leases do not count (see `readers_take`)."""
RETURN_SECONDS: Final = 0.5
PATIENCE_SECONDS: Final = 1.5
"""How long a reader waits for a place that another process may be about to give back."""
RETRY_SECONDS: Final = 0.25


class _Places:
    """The places of one user in this process."""

    __slots__ = ("leased", "used")

    def __init__(self) -> None:
        self.leased = 0
        self.used = 0


class Readers:
    """Gives places to readers."""

    def __init__(self, database: Database, background: Background) -> None:
        self._database = database
        self._process_id = new_id()
        self._places: defaultdict[str, _Places] = defaultdict(_Places)
        self._free: set[str] = set()
        # Users whose number of leases in the database is not known, because a statement was not answered.
        self._doubted: set[str] = set()
        self._beaten_at = float("-inf")
        self._beat_task = background.task("readers' leases", self._beat_for_ever)
        self._return_task = background.every("readers' places", lambda: RETURN_SECONDS, self.return_free)

    async def __aenter__(self) -> Self:
        await self._beat_task.__aenter__()
        await self._return_task.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._return_task.__aexit__()
        await self._beat_task.__aexit__()
        if self._beaten_at > 0:
            with suppress(Problem):
                await self._database.change("readers.leave", self._process_id)

    @property
    def used(self) -> int:
        """How many places the readers of this process have."""
        return sum(places.used for places in self._places.values())

    async def take(self, user_id: str) -> None:
        """Take a place; `give_back` frees it. Raises `TooManyRequests`, `Unavailable`."""
        clock = asyncio.get_running_loop().time
        end = clock() + PATIENCE_SECONDS
        while not await self._try_to_take(user_id):
            # If this process has all of them, no other process can give one back.
            if self._places[user_id].used >= MOST or clock() >= end:
                self._forget_if_unused(user_id)
                raise full()
            await asyncio.sleep(RETRY_SECONDS)

    @asynccontextmanager
    async def place(self, user_id: str) -> AsyncIterator[None]:
        """Hold a place. Raises `TooManyRequests`, `Unavailable`."""
        await self.take(user_id)
        try:
            yield
        finally:
            self.give_back(user_id)

    @asynccontextmanager
    async def place_to_keep(self, user_id: str) -> AsyncIterator[None]:
        """Take a place, and give it back only if the block fails. Raises `TooManyRequests`, `Unavailable`."""
        await self.take(user_id)
        try:
            yield
        except BaseException:
            self.give_back(user_id)
            raise

    def give_back(self, user_id: str) -> None:
        self._places[user_id].used -= 1
        self._free.add(user_id)

    async def _try_to_take(self, user_id: str) -> bool:
        places = self._places[user_id]
        if places.used < places.leased:
            places.used += 1
            return True
        if places.used >= MOST:
            return False
        if asyncio.get_running_loop().time() - self._beaten_at >= BEAT_SECONDS:
            await self._beat()
        try:
            row = await self._database.change("readers.take", user_id, self._process_id, MOST)
        except BaseException:
            self._doubted.add(user_id)
            raise
        if row is None or not row["taken"]:
            return False
        # Looked up again: meanwhile the user's last place may have been given back, and the object dropped.
        places = self._places[user_id]
        places.leased += 1
        places.used += 1
        return True

    def _forget_if_unused(self, user_id: str) -> None:
        places = self._places[user_id]
        if not places.leased and not places.used:
            del self._places[user_id]

    async def return_free(self) -> None:
        """Give back leased places that no reader has, and write anew the leases whose number in the database is not known."""
        await self._tell_doubted()
        free, self._free = self._free, set()
        surplus = {
            user_id: count for user_id in free if (count := self._places[user_id].leased - self._places[user_id].used) > 0
        }
        for user_id, count in surplus.items():
            self._places[user_id].leased -= count
        try:
            if surplus:
                await self._database.change("readers.give_back", self._process_id, list(surplus), list(surplus.values()))
        except Problem:
            self._doubted |= surplus.keys()
        for user_id in free:
            self._forget_if_unused(user_id)

    async def _tell_doubted(self) -> None:
        doubted, self._doubted = self._doubted, set()
        try:
            if doubted:
                await self._tell(doubted)
        except Problem:
            self._doubted |= doubted
        for user_id in doubted:
            self._forget_if_unused(user_id)

    async def _tell(self, user_ids: Collection[str]) -> None:
        counts = [self._places[user_id].leased for user_id in user_ids]
        await self._database.change("readers.tell", self._process_id, list(user_ids), counts)

    async def _beat_for_ever(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            try:
                # A process without readers has no leases that could expire.
                if self._places:
                    await self._beat()
            except Unavailable:
                log.info("readers' leases wait for the database")

    async def _beat(self) -> None:
        """Note that this process is alive; write its leases anew if the database has lost them (the tables are unlogged)."""
        row = await self._database.change("readers.beat", self._process_id)
        if row is not None and row["is_new"]:
            await self._tell([user_id for user_id, places in self._places.items() if places.leased])
        self._beaten_at = asyncio.get_running_loop().time()


READERS: Final[web.AppKey[Readers]] = web.AppKey("readers")


def full() -> TooManyRequests:
    return too_many_at_once(
        "readers", MOST, 30, f"This account has {MOST} live sockets and waiting polls, and may not have more."
    )
