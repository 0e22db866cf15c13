"""Deletes rows that are no longer needed, in small batches, by one process at a time."""

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
        total = 0
        for name, arguments in STATEMENTS.items():
            purged = 1
            while purged:
                row = await self._database.change(f"purge.{name}", *arguments, seconds=STATEMENT_SECONDS)
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
