"""Stores submissions by group commit: rows that arrive while a batch is being written form the next batch."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from contextvars import Context
from time import monotonic
from typing import Any, Final, Self

from aiohttp import web

from fw.database.bus import Bus
from fw.database.pool import Database, Locked
from fw.database.rotation import ASKER, Asker, Kind
from fw.errors import Unavailable
from fw.inbox.appending import Appender, Results, Way
from fw.inbox.batch import Inbox, Submission

QUEUE: Final = 5000
"""How many rows may wait: some thousands are written in a second."""
BATCH: Final = 500
OBSERVED: Final = 1000
WRITERS: Final = 2
"""How many batches are written at once: while one waits for the disk, the next is prepared."""
MANY: Final = 16
"""So many rows are worth another batch at once. Fewer do better to wait for the end of the one that is being written: they
are often of the same inbox, whose lock it has."""
MANY_SECONDS: Final = 0.02
"""After how long fewer rows are written too: that batch may wait for a lock."""

Entry = tuple[Submission, "asyncio.Future[str]"]


class Intake:
    """Takes submissions and answers each when it is committed. The queue is bounded, and is written out at the end."""

    def __init__(self, database: Database, bus: Bus, *, queue: int = QUEUE, batch: int = BATCH, writers: int = WRITERS) -> None:
        self._appender = Appender(database, bus)
        self._queue = queue
        self._batch = batch
        self._most_writers = writers
        self._waiting: deque[Entry] = deque()
        self._writers: set[asyncio.Task[None]] = set()
        # How many batches are being written, by those tasks or by a request that found a writer free.
        self._active = 0
        # When rows that wait are looked at: few of them may be there for long.
        self._look: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()
        self._is_open = False
        # Rows that wait for their locked inboxes.
        self._held: dict[Inbox, deque[Entry]] = {}
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
            if len(self._waiting) >= MANY:
                self._write_beside()
            elif self._look is None:
                self._look = asyncio.get_running_loop().call_later(MANY_SECONDS, self._write_few)
        return await stored

    def _write_few(self) -> None:
        self._look = None
        if self._waiting and self._active < self._most_writers:
            self._write_beside()

    def _write_beside(self) -> None:
        """Write what waits in another batch beside those that are being written."""
        self._active += 1
        self._start(self._write())

    async def _write_alone(self, submission: Submission) -> str:
        """Write one row from its own request: nothing waits then, and a task would take time."""
        self._active += 1
        ASKER.set(submissions_of_all)
        try:
            (result,) = await self._store([submission], Way.ALONE)
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
                await self._write_batch(entries, Way.PATIENT)
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

    async def _write_batch(self, taken: Sequence[Entry], way: Way = Way.USUAL) -> None:
        # Without those whose client has left.
        entries = [entry for entry in taken if not entry[1].done()]
        results: Results = [Unavailable()] * len(entries)
        try:
            if entries:
                results = await self._store([submission for submission, _ in entries], way)
        finally:
            for entry, result in zip(entries, results, strict=True):
                answer(entry, result)

    async def _store(self, submissions: Sequence[Submission], way: Way = Way.USUAL) -> Results:
        """Write rows, and return the id or error of each."""
        begin = monotonic()
        results = await self._appender.append(submissions, way)
        if isinstance(results[0], Unavailable):
            if isinstance(results[0].__cause__, TimeoutError):
                # The database does not answer: rows that have waited this long must not wait as long again.
                self._refuse_waiting()
        else:
            self.commits.append((len(submissions), monotonic() - begin))
        return results

    def _refuse_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for entry in waiting:
            answer(entry, Unavailable())


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
