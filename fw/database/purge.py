"""Deletes rows that are no longer needed, in small batches, by one process at a time."""

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Final, Self

from fw.background import Background
from fw.database.pool import STATEMENT_SECONDS, Database
from fw.errors import Problem

log = logging.getLogger("fw.database.purge")

EVERY_SECONDS: Final = 600.0
BATCH: Final = 500
TRIES: Final = 20
HELD_UP_SECONDS: Final = 0.1
"""How long to wait if all that is due is in inboxes that others are writing to: each write takes some milliseconds."""
DELIVERIES: Final = 100_000
"""How many deliveries of a webhook are kept, some 40 MB."""
ALIKE: Final = (
    "tombstones",
    "idempotency_keys",
    "sessions",
    "password_resets",
    "email_verifications",
    "attempts",
    "reader_processes",
    "reader_places",
    "deliveries",
)
STATEMENTS: Final[Mapping[str, tuple[int, ...]]] = {
    **dict.fromkeys(ALIKE, (BATCH,)),
    # It takes longer to find them than to delete them.
    "many_deliveries": (20 * BATCH, DELIVERIES),
}
"""The statements by their names, with the size of a batch and whatever else they take."""


class Purge:
    """Purges every few minutes, in every process; a process that finds another at work skips its turn."""

    def __init__(self, database: Database, background: Background) -> None:
        self._database = database
        # At random, so that processes that were started together do not meet every time.
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
        """Delete everything that is due, and return how many rows that was."""
        return sum([await self._purge_with(name, *arguments) for name, arguments in STATEMENTS.items()])

    async def _purge_with(self, name: str, *arguments: int) -> int:
        """Run one statement until it finds nothing more that is due. What is locked is tried again a few times."""
        total, tries = 0, TRIES
        while tries:
            row = await self._database.change(f"purge.{name}", *arguments, seconds=STATEMENT_SECONDS)
            if row and row["purged"]:
                total += row["purged"]
            elif row and row.get("is_held_up"):
                tries -= 1
                await asyncio.sleep(HELD_UP_SECONDS)
            else:
                break
        return total

    async def _purge_now(self) -> None:
        try:
            purged = await self.purge()
        except Problem:
            log.info("purging waits for the database")
        else:
            log.info("purged", extra={"rows": purged})
