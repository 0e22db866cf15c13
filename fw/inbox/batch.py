"""Submissions that are stored together: how a statement takes them, and what it tells of each."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from fw.database.pool import Locked, Row
from fw.errors import IdempotencyMismatch, NotFound, Problem
from fw.ids import LOWEST, created_at, new_id

Inbox = tuple[str, str]
"""An inbox as submissions name it: its user's id and folded username, either of them "" if not given."""


@dataclass(slots=True, kw_only=True)
class Submission:
    """One row to store. The inbox is named by its user's id or, if only that is known, by its folded username."""

    user_id: str | None = None
    username: str | None = None
    widget_id: str | None = None
    ip_address: str | None = None
    message: str
    metadata: str | None = None
    idempotency_key: str | None = None
    body_hash: bytes | None = None
    id: str = field(default_factory=new_id)

    @property
    def created_at(self) -> datetime:
        return created_at(self.id)

    @property
    def inbox(self) -> Inbox:
        return self.user_id or "", self.username or ""


class Renamed(NotFound):
    """The name by which the inbox was found is not its owner's any more."""


class Box(NamedTuple):
    """An inbox, and from where to where its rows stand in the columns, counted from 1."""

    user_id: str | None
    username: str | None
    low: int
    high: int
    is_left_out: bool
    """Whether its rows are left out if it is locked."""


class Batch:
    """The rows of one statement, in the order of their inboxes and ids."""

    def __init__(self, submissions: Sequence[Submission], left_out: Collection[Inbox]) -> None:
        self._order = sorted(range(len(submissions)), key=lambda n: (submissions[n].inbox, submissions[n].id))
        self._rows = [submissions[n] for n in self._order]
        self.boxes: list[Box] = []
        for inbox, group in groupby(enumerate(self._rows, 1), key=lambda numbered: numbered[1].inbox):
            members = list(group)
            first = members[0][1]
            self.boxes.append(Box(first.user_id, first.username, members[0][0], members[-1][0], inbox in left_out))

    def columns(self) -> tuple[Any, ...]:
        """Return the rows as parallel lists, those of idempotency keys and body hashes last: null if no row has a key."""
        rows = self._rows
        return (
            [row.id for row in rows],
            [row.created_at for row in rows],
            [row.widget_id for row in rows],
            [row.ip_address for row in rows],
            [row.message for row in rows],
            [row.metadata for row in rows],
            *keys_of(rows),
        )

    def results(self, found: Sequence[Row]) -> list[str | Exception]:
        """Return each row's id or error, in the order of the submissions, from what the statement told of the inboxes."""
        results: list[str | Exception] = [NotFound()] * len(self._rows)
        for row in found:
            box = self.boxes[row["place"] - 1]
            stored_ids = row["earlier_ids"]
            refusal = Locked() if row["is_locked"] else Renamed() if row.get("is_renamed") else None
            for n in range(box.low - 1, box.high):
                stored_id = stored_ids[n - box.low + 1] if stored_ids else None
                results[self._order[n]] = refusal or outcome(self._rows[n], stored_id)
        return results


def keys_of(rows: Sequence[Submission]) -> tuple[list[str | None] | None, list[bytes | None] | None]:
    """Return the columns of idempotency keys and body hashes, or nulls if no row has a key: the statement then does less."""
    if all(row.idempotency_key is None for row in rows):
        return None, None
    return [row.idempotency_key for row in rows], [row.body_hash for row in rows]


def outcome(row: Submission, stored_id: str | None) -> str | Problem:
    if stored_id is None:
        return row.id
    return IdempotencyMismatch() if stored_id == LOWEST else stored_id
