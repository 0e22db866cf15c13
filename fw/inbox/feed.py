"""Reads what changed in an inbox after a cursor, for the long poll and the live channel."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from aiohttp import web

from fw.database.pool import Database, Row
from fw.errors import Unauthorized
from fw.inbox.events import event

MOST: Final = 500
"""Events in one reading of an inbox."""
MOST_BYTES: Final = 64 * 1024
"""About how many bytes of messages and metadata one reading has, so that a stalled reader holds little memory. One event may
exceed it: events are never cut. In JSON they may be six times as many.
"""
MOST_BYTES_OF_MANY: Final = 16 * 1024
"""The same for each of many inboxes that one statement reads: they wait for each other."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one snapshot of an inbox has for a reader at the cursor `since`."""

    user_id: str
    since: int
    position: int
    unread_count: int
    is_lost: bool
    """The reader's cursor is from before the last purge, or above the inbox's own: the reader has to read the list anew."""
    rows: Sequence[Row]
    more: bool

    @property
    def cursor(self) -> int:
        """The cursor to read on from."""
        return self.rows[-1]["cursor"] if self.more else self.position

    def events(self, since: int | None = None) -> list[dict[str, Any]]:
        """Return the events in order; `since` is the cursor of a reader that has some of them already."""
        if self.is_lost:
            return [{"event": "resync", "cursor": self.position}]
        first = self.since if since is None else since
        return [event(row, first) for row in self.rows if row["cursor"] > first]


class Feed:
    """Reads the log of an inbox from the reader's cursor on, so that no change is missed or comes twice."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, user_id: str, since: int) -> Reading:
        """Read the next changes of one inbox, at most `MOST` and `MOST_BYTES`. Raises `Unauthorized` if the inbox is gone."""
        for found in await self._read_one(user_id, since, MOST_BYTES):
            return found
        raise Unauthorized

    async def read_many(self, since: dict[str, int]) -> list[Reading]:
        """Read the next changes of each inbox after its cursor; inboxes that are gone are left out."""
        if self._database.is_spread:
            # One statement for all would ask every part of the tables.
            one_by_one = [self._read_one(user_id, cursor, MOST_BYTES_OF_MANY) for user_id, cursor in since.items()]
            return [found for readings in await asyncio.gather(*one_by_one) for found in readings]
        rows = await self._database.rows("feedback.changes", list(since), list(since.values()), MOST, MOST_BYTES_OF_MANY)
        return [
            reading(user_id, since[user_id], list(group)) for user_id, group in groupby(rows, key=lambda row: row["inbox_id"])
        ]

    async def _read_one(self, user_id: str, since: int, most_bytes: int) -> Sequence[Reading]:
        """Read the next changes of one inbox, if it is there."""
        rows = await self._database.rows("feedback.changes_of_one", user_id, since, MOST, most_bytes)
        return [reading(user_id, since, rows)] if rows else ()


FEED: Final[web.AppKey[Feed]] = web.AppKey("feed")


def reading(user_id: str, since: int, rows: Sequence[Row]) -> Reading:
    position = rows[0]["inbox_cursor"]
    if not rows[0]["horizon"] <= since <= position:
        return Reading(user_id, since, position, rows[0]["unread_count"], is_lost=True, rows=(), more=False)
    return Reading(
        user_id,
        since,
        position,
        rows[0]["unread_count"],
        is_lost=False,
        rows=[row for row in rows if row["id"] is not None],
        more=bool(rows[-1]["has_more"]),
    )
