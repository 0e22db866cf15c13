"""Stores submissions by group commit: rows that arrive while a batch is being written form the next batch."""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Coroutine, Sequence
from contextvars import Context
from time import monotonic
from typing import Any, Final, Self

from aiohttp import web

from fw.database.bus import INBOXES, OUTBOX, Bus
from fw.database.pool import Database, Locked
from fw.database.rotation import ASKER, Asker, Kind
from fw.errors import NotFound, Problem, Unavailable
from fw.inbox.batch import Batch, Inbox, Renamed, Submission
from fw.inbox.placement import Placement

log = logging.getLogger("fw.intake")

QUEUE: Final = 5000
"""How many rows may wait: some thousands are written in a second."""
BATCH: Final = 500
OBSERVED: Final = 1000
WRITERS: Final = 2
"""How many batches are written at once: while one waits for the disk, the next is prepared."""
LOCKED_MOST: Final = 1000
PATIENT: Final = 2
"""How many locked inboxes are waited for at once: each holds a connection for as long as that takes."""
PATIENT_SECONDS: Final = 1.0
"""How long a locked inbox waits for such a connection; after that the statement waits as long for the inbox."""

RENAMED_TIMES: Final = 2
"""How often a name is looked up: it may be another's since it was looked up before."""
KINDS: Final = ("webhook", "mail")
"""What a change of an inbox may have to be sent by."""

Entry = tuple[Submission, "asyncio.Future[str]"]


class Intake:
    """Takes submissions and answers each when it is committed. The queue is bounded, and is written out at the end."""

    def __init__(self, database: Database, bus: Bus, *, queue: int = QUEUE, batch: int = BATCH, writers: int = WRITERS) -> None:
        self._database = database
        self._bus = bus
        self._placement = Placement(database)
        self._queue = queue
        self._batch = batch
        self._most_writers = writers
        self._waiting: deque[Entry] = deque()
        self._writers: set[asyncio.Task[None]] = set()
        # How many batches are being written, by those tasks or by a request that found a writer free.
        self._active = 0
        self._ended = asyncio.Event()
        self._is_open = False
        # Inboxes that were locked at the last write: batches leave their rows out and do not wait for them again.
        self._locked: set[Inbox] = set()
        # Rows that wait for their locked inboxes.
        self._held: dict[Inbox, deque[Entry]] = {}
        self._patient = asyncio.Semaphore(PATIENT)
        self.commits: deque[tuple[int, float]] = deque(maxlen=OBSERVED)
        """The rows and seconds of the last batches; the metrics take them out."""

    @property
    def waiting(self) -> int:
        """How many rows are not in a batch yet."""
        return len(self._waiting)

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_open = False
        while self._active or self._held:
            self._ended.clear()
            await self._ended.wait()

    async def submit(self, submission: Submission) -> str:
        """Store a submission, and return its id once it is committed.

        That is the id of the earlier submission if this one repeats it, and a later id than its own if its own is not above
        all ids in the inbox. Raises `NotFound` (no such inbox), `IdempotencyMismatch`, `Unavailable` (the queue is full or
        closed, the inbox is locked, or there is no database).
        """
        if len(self._waiting) >= self._queue or not self._is_open:
            raise Unavailable
        try:
            return await self._write_soon(submission)
        except Locked:
            return await self._write_patiently(submission)

    async def _write_soon(self, submission: Submission) -> str:
        """Write a row with the next batch. Raises `Locked` if others hold its inbox for longer than a moment."""
        if not self._active:
            return await self._write_alone(submission)
        stored: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((submission, stored))
        if self._active < self._most_writers:
            self._active += 1
            self._start(self._write())
        return await stored

    async def _write_alone(self, submission: Submission) -> str:
        """Write one row from its own request: nothing waits then, and a task would take time."""
        self._active += 1
        ASKER.set(submissions_of_all)
        try:
            (result,) = await self._store([submission])
        finally:
            self._go_on()
        if isinstance(result, Exception):
            raise result
        return result

    async def _write_patiently(self, submission: Submission) -> str:
        """Write a row of a locked inbox, together with others of it. Raises `Locked` if that takes too long."""
        stored: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        held = self._held.get(submission.inbox)
        if held is None:
            held = self._held[submission.inbox] = deque()
            self._start(self._write_held(submission.inbox, held))
        held.append((submission, stored))
        return await stored

    async def _write_held(self, inbox: Inbox, held: deque[Entry]) -> None:
        """Write the rows of a locked inbox in batches of their own, for which no other row waits."""
        try:
            while held:
                entries = [held.popleft() for _ in range(min(self._batch, len(held)))]
                await self._write_batch(entries, is_patient=True)
        finally:
            del self._held[inbox]
            self._ended.set()

    def _go_on(self) -> None:
        """Have the rows that wait by now be written, if any."""
        if self._waiting:
            self._start(self._write())
        else:
            self._active -= 1
            self._ended.set()

    def _start(self, writing: Coroutine[Any, Any, None]) -> None:
        # In a context of its own: a batch is not on behalf of the request that began it.
        context = Context()
        context.run(ASKER.set, submissions_of_all)
        writer = asyncio.create_task(writing, context=context)
        self._writers.add(writer)
        writer.add_done_callback(self._writers.discard)

    async def _write(self) -> None:
        """Write batches until no row waits."""
        try:
            while self._waiting:
                size = min(self._batch, len(self._waiting))
                entries = [self._waiting.popleft() for _ in range(size)]
                await self._write_batch(entries)
        finally:
            self._active -= 1
            self._ended.set()

    async def _write_batch(self, taken: Sequence[Entry], *, is_patient: bool = False) -> None:
        # Without those whose client has left.
        entries = [entry for entry in taken if not entry[1].done()]
        results: Sequence[str | Exception] = [Unavailable()] * len(entries)
        try:
            if entries:
                results = await self._store([submission for submission, _ in entries], is_patient=is_patient)
        finally:
            for entry, result in zip(entries, results, strict=True):
                answer(entry, result)

    async def _store(self, submissions: Sequence[Submission], *, is_patient: bool = False) -> Sequence[str | Exception]:
        """Write rows, and return the id or error of each."""
        if self._database.is_spread:
            return await self._store_by_machines(submissions, is_patient=is_patient)
        return await self._store_together(submissions, is_patient=is_patient)

    async def _store_by_machines(self, submissions: Sequence[Submission], *, is_patient: bool) -> Sequence[str | Exception]:
        """Write rows of inboxes that are on several machines, a batch for each."""
        results: list[str | Exception] = [NotFound()] * len(submissions)
        wanted = list(range(len(submissions)))
        for _ in range(RENAMED_TIMES):
            rows = [submissions[n] for n in wanted]
            try:
                parts = await self._placement.parts(rows)
            except Problem as problem:
                return [problem] * len(submissions)
            together = [self._store_together([rows[n] for n in part], is_patient=is_patient) for part in parts]
            for part, stored in zip(parts, await asyncio.gather(*together), strict=True):
                for n, result in zip(part, stored, strict=True):
                    results[wanted[n]] = result
            wanted = [n for n in wanted if isinstance(results[n], Renamed)]
            if not wanted:
                break
            for n in wanted:
                self._placement.forget(submissions[n])
        return results

    async def _store_together(
        self, submissions: Sequence[Submission], *, is_patient: bool = False
    ) -> Sequence[str | Exception]:
        """Write a batch, and return each row's id or error. If it fails it is written again in parts: only a bad row fails."""
        begin = monotonic()
        try:
            append = self._append_patiently if is_patient else self._append_unlocked
            results = await append(submissions)
        except Unavailable as problem:
            if isinstance(problem.__cause__, TimeoutError):
                # The database does not answer: rows that have waited this long must not wait as long again.
                self._refuse_waiting()
            return [problem] * len(submissions)
        # A bad row must not make the others fail.
        except Exception as error:  # noqa: BLE001
            if len(submissions) == 1:
                # Without the traceback: the driver's message may quote the submission.
                log.error("a submission could not be written", extra={"reason": type(error).__name__})  # noqa: TRY400
                return [error]
            log.warning("a batch failed and is written in parts", extra={"rows": len(submissions)})
            return [
                result for part in halves(submissions) for result in await self._store_together(part, is_patient=is_patient)
            ]
        self.commits.append((len(submissions), monotonic() - begin))
        return results

    def _refuse_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for entry in waiting:
            answer(entry, Unavailable())

    async def _append_unlocked(self, submissions: Sequence[Submission]) -> list[str | Exception]:
        """Append rows. If an inbox is locked, the result of its rows is `Locked`, after the statement's lock timeout."""
        try:
            results = await self._append(submissions, self._locked)
        except Locked:
            log.warning("an inbox is locked", extra={"rows": len(submissions)})
            results = await self._append(submissions, {row.inbox for row in submissions})
        self._note_locked(submissions, results)
        return results

    async def _append_patiently(self, submissions: Sequence[Submission]) -> list[str | Exception]:
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

    def _note_locked(self, submissions: Sequence[Submission], results: Sequence[str | Exception]) -> None:
        locked = {row.inbox for row, result in zip(submissions, results, strict=True) if isinstance(result, Locked)}
        if self._locked:
            self._locked -= {row.inbox for row in submissions} - locked
        if locked and len(self._locked) < LOCKED_MOST:
            self._locked |= locked

    async def _append(
        self, submissions: Sequence[Submission], left_out: Collection[Inbox], *, is_patient: bool = False
    ) -> list[str | Exception]:
        """Append rows in one statement, and return each row's id or error, in the order of the submissions.

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
        if found and not self._bus.in_transaction:
            self._bus.publish(INBOXES, {row["user_id"] for row in found})
        return batch.results(found)

    async def _append_near(self, batch: Batch, *, is_patient: bool) -> list[str | Exception]:
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


INTAKE: Final[web.AppKey[Intake]] = web.AppKey("intake")


def submissions_of_all() -> Asker:
    return Kind.OWN, "submissions"


def answer(entry: Entry, result: str | Exception) -> None:
    """Hand the result of a row to the call of `submit` that waits for it."""
    _, waiting = entry
    if waiting.done():
        return
    if isinstance(result, Exception):
        waiting.set_exception(result)
    else:
        waiting.set_result(result)


def halves(rows: Sequence[Submission]) -> tuple[Sequence[Submission], Sequence[Submission]]:
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]
