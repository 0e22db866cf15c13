"""The way out: what changed in an inbox after a cursor. The long-poll and the live channel read the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fw.database import Database, Row
from fw.errors import Unauthorized

MOST: Final = 500
"""Events in one reading."""
INBOX_COLUMNS: Final = ("inbox_cursor", "unread_count", "total_count", "horizon", "created_cursor", "deleted_at")


@dataclass(frozen=True, slots=True)
class Changes:
    """Events in the order of their cursors, the cursor to go on from, and whether more is there already."""

    events: Sequence[dict[str, Any]]
    cursor: int
    more: bool


class Feed:
    """Reads the log of an inbox from the reader's own cursor, so that nothing is missed and nothing comes twice."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def changes(self, user_id: str, since: int) -> Changes:
        """Read at most `MOST` events after a cursor, in one snapshot.

        A cursor from before the last purge, or one that the inbox has not reached, gets one `resync`.
        """
        rows = await self._database.rows("feedback.changes", user_id, since, MOST + 1)
        if not rows:
            raise Unauthorized
        position, horizon = rows[0]["inbox_cursor"], rows[0]["horizon"]
        if not horizon <= since <= position:
            return Changes([{"event": "resync", "cursor": position}], position, False)
        events = [event(row, since) for row in rows[:MOST] if row["id"] is not None]
        more = len(rows) > MOST
        return Changes(events, events[-1]["cursor"] if more else position, more)


def event(row: Row, since: int) -> dict[str, Any]:
    """Make the event of one changed item, as it is new to a reader at `since`."""
    if row["deleted_at"] is not None:
        return {"event": "deleted", "cursor": row["cursor"], "id": row["id"]}
    kind = "created" if row["created_cursor"] > since else "updated"
    return {"event": kind, "cursor": row["cursor"], "feedback": item(row)}


def item(row: Row) -> dict[str, Any]:
    """Return the feedback of a row that also tells the state of its inbox."""
    return {name: value for name, value in row.items() if name not in INBOX_COLUMNS}
