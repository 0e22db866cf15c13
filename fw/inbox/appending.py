"""How submissions get into their inboxes: by which statements, and what becomes of rows that cannot be written."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from enum import Enum
from typing import Final

from fw.database.bus import INBOXES, OUTBOX, Bus
from fw.database.pool import Database, Locked, Row
from fw.errors import NotFound, Problem, Unavailable
from fw.inbox.batch import Batch, Inbox, Renamed, Submission
from fw.inbox.placement import Placement

log = logging.getLogger("fw.intake")

LOCKED_MOST: Final = 1000
PATIENT: Final = 2
"""How many locked inboxes are waited for at once: each holds a connection for as long as that takes."""
PATIENT_SECONDS: Final = 1.0
"""How long a locked inbox waits for such a connection; after that the statement waits as long for the inbox."""

RENAMED_TIMES: Final = 2
"""How often a name is looked up: it may be another's since it was looked up before."""
KINDS: Final = ("webhook", "mail")
"""What a change of an inbox may have to be sent by."""

Results = Sequence[str | Exception]
"""Each row's id or error, in the order of the submissions."""


class Way(Enum):
    """How a batch is written."""

    USUAL = "a locked inbox is waited for a moment"
    ALONE = "one row, and nothing else is being written"
    PATIENT = "for one inbox, which is locked: it is waited for longer"


class Appender:
    """Writes batches of submissions."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._placement = Placement(database)
        self._ways = {Way.USUAL: self._append_unlocked, Way.ALONE: self._append_alone, Way.PATIENT: self._append_patiently}
        # Inboxes that were locked at the last write: batches leave their rows out and do not wait for them again.
        self._locked: set[Inbox] = set()
        self._patient = asyncio.Semaphore(PATIENT)

    async def append(self, submissions: Sequence[Submission], way: Way = Way.USUAL) -> Results:
        """Write a batch. The result of a row is `Locked` if its inbox is."""
        if self._database.is_spread:
            return await self._append_by_machines(submissions, way)
        return await self._append_together(submissions, way)

    async def _append_by_machines(self, submissions: Sequence[Submission], way: Way) -> Results:
        """Write rows of inboxes that are on several machines, a batch for each."""
        results: list[str | Exception] = [NotFound()] * len(submissions)
        wanted = list(range(len(submissions)))
        for _ in range(RENAMED_TIMES):
            rows = [submissions[n] for n in wanted]
            try:
                parts = await self._placement.parts(rows)
            except Problem as problem:
                return [problem] * len(submissions)
            together = [self._append_together([rows[n] for n in part], way) for part in parts]
            for part, stored in zip(parts, await asyncio.gather(*together), strict=True):
                for n, result in zip(part, stored, strict=True):
                    results[wanted[n]] = result
            wanted = [n for n in wanted if isinstance(results[n], Renamed)]
            if not wanted:
                break
            for n in wanted:
                self._placement.forget(submissions[n])
        return results

    async def _append_together(self, submissions: Sequence[Submission], way: Way) -> Results:
        """Write a batch. If it fails it is written again in parts: only a bad row fails."""
        try:
            return await self._ways[way](submissions)
        except Unavailable as problem:
            return [problem] * len(submissions)
        # A bad row must not make the others fail.
        except Exception as error:  # noqa: BLE001
            if len(submissions) == 1:
                # Without the traceback: the driver's message may quote the submission.
                log.error("a submission could not be written", extra={"reason": type(error).__name__})  # noqa: TRY400
                return [error]
            log.warning("a batch failed and is written in parts", extra={"rows": len(submissions)})
            return [result for part in halves(submissions) for result in await self._append_together(part, way)]

    async def _append_unlocked(self, submissions: Sequence[Submission]) -> Results:
        """Append rows. If an inbox is locked, the result of its rows is `Locked`, after the statement's lock timeout."""
        try:
            results = await self._append(submissions, self._locked)
        except Locked:
            log.warning("an inbox is locked", extra={"rows": len(submissions)})
            results = await self._append(submissions, {row.inbox for row in submissions})
        self._note_locked(submissions, results)
        return results

    async def _append_alone(self, submissions: Sequence[Submission]) -> Results:
        """Append one row: in half the time if nothing is special about it, as about most.

        Otherwise that statement stores nothing, and the usual one sees to what is special.
        """
        [row] = submissions
        if row.idempotency_key is None and not self._database.is_spread:
            found = await self._database.changes(
                "feedback.append_alone",
                *(row.user_id, row.username, row.id, row.created_at, row.widget_id, row.ip_address, row.message, row.metadata),
                self._bus.in_transaction,
            )
            if found:
                self._tell(found)
                self._locked.discard(row.inbox)
                return [row.id]
        return await self._append_unlocked(submissions)

    async def _append_patiently(self, submissions: Sequence[Submission]) -> Results:
        """Append rows of one inbox that is locked. Raises `Locked` if it stays so."""
        try:
            async with asyncio.timeout(PATIENT_SECONDS):
                await self._patient.acquire()
        except TimeoutError:
            raise Locked from None
        try:
            return await self._append(submissions, (), is_patient=True)
        finally:
            self._patient.release()

    def _note_locked(self, submissions: Sequence[Submission], results: Results) -> None:
        locked = {row.inbox for row, result in zip(submissions, results, strict=True) if isinstance(result, Locked)}
        if self._locked:
            self._locked -= {row.inbox for row in submissions} - locked
        if locked and len(self._locked) < LOCKED_MOST:
            self._locked |= locked

    async def _append(
        self, submissions: Sequence[Submission], left_out: Collection[Inbox], *, is_patient: bool = False
    ) -> Results:
        """Append rows in one statement.

        If an inbox of `left_out` is locked, its rows are `Locked` at once; for any other one the statement waits. It waits
        longer if it is patient, which only one for a single inbox can be.
        """
        batch = Batch(submissions, left_out)
        if self._database.is_spread:
            return await self._append_near(batch, is_patient=is_patient)
        boxes = batch.boxes
        if len(boxes) == 1:
            [box] = boxes
            found = await self._database.changes(
                "feedback.append_to_one",
                *(box.user_id, box.username),
                *batch.columns(),
                *(self._bus.in_transaction, box.is_left_out, is_patient),
            )
        else:
            user_ids, usernames, lows, highs, left_out = map(list, zip(*boxes, strict=True))
            found = await self._database.changes(
                "feedback.append",
                *(user_ids, usernames, lows, highs),
                *batch.columns(),
                *(self._bus.in_transaction, left_out),
            )
        self._tell(found)
        return batch.results(found)

    def _tell(self, found: Sequence[Row]) -> None:
        """Tell of the inboxes that have something new, unless the statement has done so."""
        if found and not self._bus.in_transaction:
            self._bus.publish(INBOXES, {row["user_id"] for row in found})

    async def _append_near(self, batch: Batch, *, is_patient: bool) -> Results:
        """Append rows by the machine that has all of their inboxes."""
        user_ids, usernames, lows, highs, left_out = map(list, zip(*batch.boxes, strict=True))
        found = await self._database.changes(
            "feedback.append_near",
            *(user_ids[0], user_ids, usernames, lows, highs, left_out, is_patient),
            *batch.columns(),
        )
        # What is told on another machine is heard by nobody.
        self._bus.publish(INBOXES, {row["user_id"] for row in found})
        if any(row["is_watched"] for row in found):
            self._bus.publish(OUTBOX, KINDS)
        return batch.results(found)


def halves(rows: Sequence[Submission]) -> tuple[Sequence[Submission], Sequence[Submission]]:
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]
