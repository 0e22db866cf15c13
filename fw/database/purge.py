"""Housekeeping: what has served its time goes, in small batches, from one process at a time."""

import logging
import random
from typing import Final, Self

from fw.background import Background
from fw.database.pool import STATEMENT_SECONDS, Database
from fw.errors import Problem

log = logging.getLogger("fw.database.purge")

EVERY_SECONDS: Final = 600.0
BATCH: Final = 500
STATEMENTS: Final = (
    "tombstones",
    "idempotency_keys",
    "sessions",
    "password_resets",
    "attempts",
    "reader_processes",
    "reader_places",
)


class Purge:
    """Purges now and then. Every process does; one that finds another at work skips its turn."""

    def __init__(self, database: Database, background: Background) -> None:
        self._database = database
        # Processes that were started together are not to meet every time.
        self._task = background.every(
            "purge",
            lambda: EVERY_SECONDS * random.uniform(0.5, 1.0),  # noqa: S311
            self._purge_now,
        )

    async def __aenter__(self) -> Self:
        await self._task.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._task.__aexit__()

    async def purge(self) -> int:
        """Purge everything that is due, and return how many rows went."""
        total = 0
        for name in STATEMENTS:
            purged = BATCH
            while purged >= BATCH:
                row = await self._database.change(f"purge.{name}", BATCH, seconds=STATEMENT_SECONDS)
                purged = row["purged"] if row else 0
                total += purged
        return total

    async def _purge_now(self) -> None:
        try:
            purged = await self.purge()
        except Problem:
            log.info("purging waits for the database")
        else:
            log.info("purged", extra={"rows": purged})
