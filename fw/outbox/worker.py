"""Works off the outbox: leases lanes of jobs, and hands each job to the courier of its kind.

A change and its jobs are one transaction, and a job is removed only when it is done: whatever process is killed at whatever
moment, each job is done at least once. A lane's jobs are done one after the other, different lanes at the same time.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple, Protocol, Self

from aiohttp import web

from fw.background import Background, Task
from fw.database.pool import Database, Row
from fw.errors import Problem
from fw.ids import new_id

log = logging.getLogger("fw.outbox")

LEASE_SECONDS: Final = 60.0
"""How long a lane stays with a process that says no more of it."""
RENEW_SECONDS: Final = 20.0
"""How often the leases of jobs that take long are renewed."""
SWEEP_SECONDS: Final = 1.0
"""How often lanes are looked for without a hint: for those that are due later, or whose hint was lost."""
JOBS_AT_ONCE: Final = 20
"""How many jobs of a lane are done before others have their turn."""
SLOW_SECONDS: Final = 2.0
"""How long a lane's turn may take. One that takes longer has a place among the slow ones, and ends with the job under way."""
FAILED_SECONDS: Final = 5.0
"""How long a lane is left alone if the database refuses to begin its job."""
MOST_ATTEMPTS: Final = 30
"""A job that was begun more often than that is given up. Couriers give up earlier: such a job kills its processes."""
DRAIN_SECONDS: Final = 4.0
"""How long jobs that are under way may still take when the process stops."""
LEAVE_SECONDS: Final = 1.0
"""How long it may take then to give back what is leased; without that the leases end by themselves."""


class Job(NamedTuple):
    """Something to do for a user. `attempts` counts this one too; `key` names its lane; `payload` is JSON."""

    user_id: str
    key: str
    id: str
    payload: str
    attempts: int
    created_at: datetime


class Turn(NamedTuple):
    """A lane that is served, and since when."""

    user_id: str
    key: str
    begun_at: float


class Later(Exception):
    """The job could not be done now: try again in `seconds`, and leave the whole lane alone for `pause` seconds.

    `is_counted` is false if nothing was tried: the time for it has not come.
    """

    def __init__(self, reason: str, seconds: float, *, pause: float = 0.0, is_counted: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.seconds, self.pause, self.is_counted = reason, seconds, pause, is_counted


class Never(Exception):
    """The job cannot be done, now or later. `is_expected` is true if that is nothing to be told in the log."""

    def __init__(self, reason: str, *, is_expected: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.is_expected = reason, is_expected


class Courier(Protocol):
    """Does the jobs of one kind."""

    lanes_at_once: int
    """How many lanes one process serves at the same time, those left out that are slow."""
    attempt_seconds: float
    """How long it may take for a job."""
    slow_lanes: int
    """How many lanes that are slow it serves besides: each only waits for somebody else."""

    async def deliver(self, job: Job) -> bool | None:
        """Do a job. Raises `Later` or `Never`; any other exception is logged, and the job comes again.

        Returns true if a statement of its own has removed the job already.
        """


@dataclass
class Tally:
    """What one process has done of a kind."""

    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    oldest_seconds: float = 0.0


class Outbox:
    """The couriers of one process, each with a task that finds lanes for it."""

    def __init__(self, database: Database, background: Background, couriers: Mapping[str, Courier]) -> None:
        self._database = database
        self._couriers = couriers
        self._lease = new_id()
        self._hints = {kind: asyncio.Event() for kind in couriers}
        self._lanes: dict[str, dict[asyncio.Task[None], Turn]] = {kind: {} for kind in couriers}
        self._is_ending = False
        self.tallies = {kind: Tally() for kind in couriers}
        self._tasks = [self._finder(background, kind) for kind in couriers]
        self._tasks.append(background.every("outbox state", lambda: 15.0, self._look))
        self._tasks.append(background.every("outbox leases", lambda: RENEW_SECONDS, self._renew))

    def _finder(self, background: Background, kind: str) -> Task:
        return background.task(f"outbox {kind}", lambda: self._find_for_ever(kind))

    async def __aenter__(self) -> Self:
        for task in self._tasks:
            await task.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_ending = True
        for task in self._tasks:
            await task.__aexit__()
        lanes = {lane for running in self._lanes.values() for lane in running}
        if lanes:
            late = (await asyncio.wait(lanes, timeout=DRAIN_SECONDS))[1]
            for lane in late:
                lane.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        # A lane may have been leased by a statement that was cancelled, too.
        with suppress(Problem):
            await self._database.change("outbox.leave", self._lease, seconds=LEAVE_SECONDS)

    def wake(self, kinds: list[str]) -> None:
        """Look for lanes of these kinds now: the hint of those who wrote jobs."""
        for kind in kinds:
            if kind in self._hints:
                self._hints[kind].set()

    async def _find_for_ever(self, kind: str) -> None:
        hint = self._hints[kind]
        while True:
            hint.clear()
            try:
                found = await self._claim(kind)
            except Problem:
                # The database has said so in the log.
                found = 0
            if not found:
                # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the hint.
                with suppress(TimeoutError):
                    async with asyncio.timeout(SWEEP_SECONDS):
                        await hint.wait()

    async def _claim(self, kind: str) -> int:
        """Lease as many lanes as there is room for, and begin to serve them. Returns how many."""
        running = self._lanes[kind]
        room = self._room(kind)
        if room <= 0:
            # Until one ends, or turns out to be slow.
            await asyncio.wait(running, timeout=SLOW_SECONDS / 4, return_when=asyncio.FIRST_COMPLETED)
            return 1
        found = await self._lease_lanes(kind, room)
        for row in found:
            turn = Turn(row["user_id"], row["key"], asyncio.get_running_loop().time())
            lane = asyncio.create_task(self._serve(kind, turn.user_id, turn.key), name=f"lane {kind}")
            running[lane] = turn
            lane.add_done_callback(running.__delitem__)
        return len(found)

    async def _lease_lanes(self, kind: str, room: int) -> Sequence[Row]:
        """Lease lanes that are due, at most so many."""
        if not self._database.is_spread:
            return await self._database.changes("outbox.claim", kind, room, self._lease, LEASE_SECONDS)
        due = await self._database.rows("outbox.due", kind, room)
        leased = [
            await self._database.change("outbox.lease", lane["user_id"], kind, lane["key"], self._lease, LEASE_SECONDS)
            for lane in due
        ]
        return [row for row in leased if row is not None]

    def _room(self, kind: str) -> int:
        """Return how many more lanes may be served: one free account's slow receivers must not hold all places."""
        courier, running = self._couriers[kind], self._lanes[kind]
        slow_since = asyncio.get_running_loop().time() - SLOW_SECONDS
        slow = sum(turn.begun_at < slow_since for turn in running.values())
        return courier.lanes_at_once - len(running) + min(slow, courier.slow_lanes)

    async def _serve(self, kind: str, user_id: str, key: str) -> None:
        """Do the next jobs of a lane, and give it back."""
        pause = 0.0
        clock = asyncio.get_running_loop().time
        slow_at = clock() + SLOW_SECONDS
        try:
            for _ in range(JOBS_AT_ONCE):
                if self._is_ending or clock() > slow_at:
                    break
                row = await self._database.change("outbox.begin", user_id, kind, key, self._lease, LEASE_SECONDS)
                if row is None:
                    break
                pause = await self._attempt(kind, Job(**row))
                if pause:
                    break
        except Problem:
            # The database has said so in the log.
            pause = FAILED_SECONDS
            return
        finally:
            # If that fails too, the lease ends by itself.
            with suppress(Problem):
                released = await asyncio.shield(self._database.change("outbox.release", user_id, kind, key, self._lease, pause))
                if released and released["is_due"]:
                    self._hints[kind].set()

    async def _attempt(self, kind: str, job: Job) -> float:
        """Try to do a job. Returns for how many seconds its lane is to be left alone."""
        tally = self.tallies[kind]
        try:
            if job.attempts > MOST_ATTEMPTS:
                raise Never("too many attempts")
            async with asyncio.timeout(self._couriers[kind].attempt_seconds):
                is_removed = await self._couriers[kind].deliver(job)
        except Later as later:
            if later.is_counted:
                tally.failed[later.reason] += 1
            await self._database.change("outbox.defer", job.user_id, job.id, later.seconds, not later.is_counted)
            return later.pause
        except Never as never:
            tally.failed[never.reason] += 1
            level = logging.DEBUG if never.is_expected else logging.WARNING
            log.log(level, "job given up", extra={"kind": kind, "job_id": job.id, "reason": never.reason})
        # A courier's fault must not end the work for others; the job comes again, later each time.
        except Exception as error:
            tally.failed["error"] += 1
            log.exception("job failed", extra={"kind": kind, "job_id": job.id, "reason": type(error).__name__})
            await self._database.change("outbox.defer", job.user_id, job.id, min(3600.0, 5.0 * 2**job.attempts), False)
            return 0.0
        else:
            tally.done += 1
            if is_removed:
                return 0.0
        await self._database.change("outbox.finish", job.user_id, job.id)
        return 0.0

    async def _renew(self) -> None:
        # Only those that are served: of others, the release has failed, or the answer that they are ours was lost.
        turns = [(kind, turn) for kind, running in self._lanes.items() for turn in running.values()]
        if turns:
            served = [f"{turn.user_id} {kind} {turn.key}" for kind, turn in turns]
            with suppress(Problem):
                await self._database.change("outbox.renew", self._lease, LEASE_SECONDS, served)

    async def _look(self) -> None:
        with suppress(Problem):
            rows = {row["kind"]: row for row in await self._database.rows("outbox.state")}
            for kind, tally in self.tallies.items():
                row = rows.get(kind)
                tally.waiting = row["waiting"] if row else 0
                tally.oldest_seconds = row["oldest_seconds"] if row else 0.0


OUTBOX: Final[web.AppKey[Outbox]] = web.AppKey("outbox")
