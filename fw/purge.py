"""Housekeeping: what has served its time goes, in small batches, from one process at a time."""

import asyncio
import logging
import random
from typing import Final, Self

from fw.database import Database
from fw.errors import Problem

log = logging.getLogger("fw.purge")

EVERY_SECONDS: Final = 600.0
BATCH: Final = 500
STATEMENTS: Final = ("tombstones", "idempotency_keys", "sessions", "password_resets", "attempts")


class Purge:
    """Purges now and then. Every process does: who finds another at it leaves it to that one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._purge_for_ever())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def purge(self) -> int:
        """Purge everything that is due, and return how many rows went."""
        total = 0
        for name in STATEMENTS:
            purged = BATCH
            while purged >= BATCH:
                row = await self._database.change(f"purge.{name}", BATCH)
                purged = row["purged"] if row else 0
                total += purged
        return total

    async def _purge_for_ever(self) -> None:
        while True:
            # Processes that were started together are not to meet every time.
            await asyncio.sleep(EVERY_SECONDS * random.uniform(0.5, 1.0))  # noqa: S311
            try:
                purged = await self.purge()
            except Problem:
                log.info("purging waits for the database")
            else:
                log.info("purged", extra={"rows": purged})
