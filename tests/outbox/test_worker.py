"""The outbox: every job is done, whatever happens, and nobody's jobs keep others' from being done."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from fw.background import Background
from fw.config import Config
from fw.database.pool import Database
from fw.outbox import worker
from fw.outbox.worker import Job, Later, Never, Outbox
from tests.support.waiting import until

KIND = "test"


def number(job: Job) -> int:
    return int(json.loads(job.payload)["n"])


class Noting:
    """A courier that notes what it was given, and does as a test says."""

    def __init__(self, act: Callable[[Job], Any] = lambda job: None, lanes_at_once: int = 50, slow_lanes: int = 0) -> None:
        self.attempt_seconds = 30.0
        self.act, self.lanes_at_once, self.slow_lanes = act, lanes_at_once, slow_lanes
        self.begun: list[Job] = []
        self.done: list[Job] = []

    async def deliver(self, job: Job) -> None:
        self.begun.append(job)
        result = self.act(job)
        if asyncio.iscoroutine(result):
            await result
        self.done.append(job)

    def numbers(self, user_id: str = "") -> list[int]:
        return [number(job) for job in self.done if not user_id or job.user_id == user_id]


class Processes:
    """Opens outboxes as processes would, and stops them at the end of a block."""

    def __init__(self, url: str) -> None:
        self._config = Config(database_url=url)
        self._stack = AsyncExitStack()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._stack:
            yield

    async def start(self, courier: Noting) -> Outbox:
        database = await self._stack.enter_async_context(Database(self._config))
        return await self._stack.enter_async_context(Outbox(database, Background(), {KIND: courier}))


@pytest.fixture
def processes(database_url: str) -> Processes:
    return Processes(database_url)


async def add(sql: asyncpg.Connection, user_id: str, *numbers: int, key: str = "k") -> None:
    await sql.execute(
        "SELECT jobs_add($1, $2, $3, ARRAY(SELECT gen_random_uuid() FROM unnest($4::integer[])),"
        " ARRAY(SELECT json_build_object('n', n) FROM unnest($4::integer[]) AS n), $4::integer[]::bigint[])",
        user_id,
        KIND,
        key,
        list(numbers),
    )


async def is_empty(sql: asyncpg.Connection) -> bool:
    return bool(await sql.fetchval("SELECT NOT EXISTS (SELECT FROM jobs) AND NOT EXISTS (SELECT FROM lanes)"))


async def emptied(sql: asyncpg.Connection) -> None:
    await until(lambda: is_empty(sql), "the outbox to be empty", seconds=30)


async def test_does_each_job_once_and_in_order(sql: asyncpg.Connection, processes: Processes) -> None:
    courier, users = Noting(), [str(uuid4()) for _ in range(3)]
    for user in users:
        await add(sql, user, *range(30))
    async with processes.running():
        await processes.start(courier)
        await emptied(sql)
    for user in users:
        assert courier.numbers(user) == list(range(30))
    assert {job.attempts for job in courier.begun} == {1}


async def test_two_processes_share_the_work(sql: asyncpg.Connection, processes: Processes) -> None:
    couriers = [Noting(lambda job: asyncio.sleep(0.001)) for _ in range(2)]
    for _ in range(40):
        await add(sql, str(uuid4()), 1, 2, 3)
    async with processes.running():
        for courier in couriers:
            await processes.start(courier)
        await emptied(sql)
    ids = Counter(job.id for courier in couriers for job in courier.done)
    assert (len(ids), set(ids.values())) == (120, {1})


async def test_a_backlog_delays_nobody_else(sql: asyncpg.Connection, processes: Processes) -> None:
    busy, other = str(uuid4()), str(uuid4())
    await sql.execute(
        "INSERT INTO jobs (user_id, id, kind, key, payload, due, place)"
        " SELECT $1, gen_random_uuid(), $2, 'k', '{\"n\": 0}', now() - interval '1 hour', n"
        " FROM generate_series(1, 100000) AS n",
        busy,
        KIND,
    )
    await add(sql, busy, 0)
    courier = Noting(lanes_at_once=1)
    async with processes.running():
        await processes.start(courier)
        await until(lambda: asyncio.sleep(0, len(courier.done) > 30), "the backlog to be worked on", seconds=60)
        before = len(courier.done)
        await add(sql, other, 7)
        await until(lambda: asyncio.sleep(0, courier.numbers(other)), "the other's job", seconds=60)
    place = [job.user_id for job in courier.done].index(other)
    assert place - before <= 2 * worker.JOBS_AT_ONCE


async def test_slow_lanes_hold_no_places_of_others(
    sql: asyncpg.Connection, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SLOW_SECONDS", 0.1)
    slow, other, go_on = [str(uuid4()) for _ in range(2)], str(uuid4()), asyncio.Event()
    courier = Noting(lambda job: go_on.wait() if job.user_id in slow else None, lanes_at_once=1, slow_lanes=2)
    for user in slow:
        await add(sql, user, 1, 2)
    async with processes.running():
        await processes.start(courier)
        await until(lambda: asyncio.sleep(0, len(courier.begun) == 2), "both to be slow")
        await add(sql, other, 1)
        await until(lambda: asyncio.sleep(0, courier.numbers(other)), "the other's job")
        assert [courier.numbers(user) for user in slow] == [[], []]
        go_on.set()
        await emptied(sql)


async def test_a_slow_lane_waits_after_each_job_for_its_next_turn(
    sql: asyncpg.Connection, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SLOW_SECONDS", 0.05)
    slow, other = str(uuid4()), str(uuid4())
    courier = Noting(lambda job: asyncio.sleep(0.1) if job.user_id == slow else None, lanes_at_once=1)
    await add(sql, slow, *range(5))
    async with processes.running():
        await processes.start(courier)
        await until(lambda: asyncio.sleep(0, courier.begun), "the first job")
        await add(sql, other, 1)
        await emptied(sql)
    assert [job.user_id for job in courier.done].index(other) < 3


async def test_a_lone_lane_does_not_wait_for_the_next_sweep(
    sql: asyncpg.Connection, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 3600.0)
    await add(sql, str(uuid4()), *range(3 * worker.JOBS_AT_ONCE))
    async with processes.running():
        await processes.start(Noting())
        await emptied(sql)


async def test_a_job_comes_later_and_its_lane_goes_on(sql: asyncpg.Connection, processes: Processes) -> None:
    user = str(uuid4())

    def act(job: Job) -> None:
        if number(job) == 1 and job.attempts < 3:
            raise Later("busy", 0.05)

    courier = Noting(act)
    await add(sql, user, 1, 2, 3)
    async with processes.running():
        outbox = await processes.start(courier)
        await emptied(sql)
        assert outbox.tallies[KIND].failed == {"busy": 2}
        assert outbox.tallies[KIND].done == 3
    assert courier.numbers() == [2, 3, 1]


async def test_a_lane_that_pauses_is_left_alone(sql: asyncpg.Connection, processes: Processes) -> None:
    user = str(uuid4())

    def act(job: Job) -> None:
        raise Later("down", 0.0, pause=3600.0)

    courier = Noting(act)
    await add(sql, user, 1, 2, 3)
    async with processes.running():
        await processes.start(courier)
        due = "SELECT due > now() + interval '50 minutes' AND lease IS NULL FROM lanes"
        await until(lambda: sql.fetchval(due), "the lane to be given back")
    assert len(courier.begun) == 1
    # Not for new jobs either.
    await add(sql, user, 4)
    assert await sql.fetchval(due)


async def test_a_new_job_brings_a_lane_forward_that_waits_for_a_later_one(
    sql: asyncpg.Connection, processes: Processes
) -> None:
    user = str(uuid4())

    def act(job: Job) -> None:
        if number(job) == 1:
            raise Later("not yet", 3600.0)

    courier = Noting(act)
    await add(sql, user, 1)
    async with processes.running():
        await processes.start(courier)
        due = "SELECT due > now() + interval '50 minutes' AND lease IS NULL FROM lanes"
        await until(lambda: sql.fetchval(due), "the lane to be given back")
        await add(sql, user, 2)
        await until(lambda: asyncio.sleep(0, courier.numbers() == [2]), "the new job")


async def test_jobs_are_in_the_order_of_their_inbox_and_not_of_its_transactions(
    sql: asyncpg.Connection, database_url: str, processes: Processes
) -> None:
    user = str(uuid4())
    earlier = await asyncpg.connect(database_url)
    try:
        # This transaction begins first, and has its turn at the inbox after the other one.
        async with earlier.transaction():
            await earlier.execute("SELECT now()")
            await add(sql, user, 1)
            await add(earlier, user, 2)
    finally:
        await earlier.close()
    courier = Noting()
    async with processes.running():
        await processes.start(courier)
        await emptied(sql)
    assert courier.numbers() == [1, 2]


async def test_what_was_not_tried_does_not_count(sql: asyncpg.Connection, processes: Processes) -> None:
    tries = iter(range(5))

    def act(job: Job) -> None:
        if next(tries) < 4:
            raise Later("not yet", 0.01, is_counted=False)

    courier = Noting(act)
    await add(sql, str(uuid4()), 1)
    async with processes.running():
        outbox = await processes.start(courier)
        await emptied(sql)
        assert outbox.tallies[KIND].failed == {}
    assert [job.attempts for job in courier.begun] == [1] * 5


async def test_what_can_never_be_done_is_given_up(
    sql: asyncpg.Connection, processes: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    def act(job: Job) -> None:
        raise Never("gone")

    courier = Noting(act)
    await add(sql, str(uuid4()), 1, 2)
    async with processes.running():
        outbox = await processes.start(courier)
        await emptied(sql)
        assert outbox.tallies[KIND].failed == {"gone": 2}
    assert len(courier.begun) == 2


async def test_a_fault_of_a_courier_harms_no_other_job(
    sql: asyncpg.Connection, processes: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    def act(job: Job) -> None:
        if number(job) == 1:
            raise ZeroDivisionError

    courier = Noting(act)
    await add(sql, str(uuid4()), 1, 2)
    async with processes.running():
        await processes.start(courier)
        await until(lambda: asyncio.sleep(0, courier.numbers() == [2]), "the other job")
        await until(lambda: sql.fetchval("SELECT due > now() FROM jobs"), "the job to be put off")
    assert await sql.fetchval("SELECT attempts FROM jobs") == 1
    assert "job failed" in caplog.text


async def test_a_job_that_kills_its_processes_is_given_up(sql: asyncpg.Connection, processes: Processes) -> None:
    courier = Noting()
    await add(sql, str(uuid4()), 1)
    await sql.execute("UPDATE jobs SET attempts = $1", worker.MOST_ATTEMPTS)
    async with processes.running():
        await processes.start(courier)
        await emptied(sql)
    assert courier.begun == []


async def test_the_jobs_of_a_killed_process_come_back(sql: asyncpg.Connection, processes: Processes) -> None:
    user = str(uuid4())
    await add(sql, user, 1, 2)
    # What a process leaves that was killed in the middle of a job, its lease not over yet.
    await sql.execute("UPDATE lanes SET lease = gen_random_uuid(), leased_until = now() + interval '0.5 seconds'")
    await sql.execute("UPDATE jobs SET attempts = 1 WHERE place = 1")
    courier = Noting()
    async with processes.running():
        await processes.start(courier)
        await emptied(sql)
    assert [(number(job), job.attempts) for job in courier.done] == [(1, 2), (2, 1)]


async def test_a_process_that_has_lost_its_lease_does_no_further_job(sql: asyncpg.Connection, processes: Processes) -> None:
    user = str(uuid4())
    hold = asyncio.Event()
    courier = Noting(lambda job: hold.wait())
    await add(sql, user, 1, 2)
    async with processes.running():
        await processes.start(courier)
        await until(lambda: asyncio.sleep(0, courier.begun), "the first job")
        await sql.execute("UPDATE lanes SET lease = gen_random_uuid(), leased_until = now() + interval '1 hour'")
        hold.set()
        await until(lambda: sql.fetchval("SELECT count(*) = 1 FROM jobs"), "the first job to be finished")
    assert len(courier.begun) == 1
    # The lane is the other process's: it was not given back.
    assert await sql.fetchval("SELECT leased_until > now() + interval '50 minutes' FROM lanes")


async def test_a_process_that_stops_finishes_what_is_under_way_and_leaves_the_rest(
    sql: asyncpg.Connection, processes: Processes
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def act(job: Job) -> None:
        begun.set()
        await go_on.wait()

    courier = Noting(act)
    await add(sql, str(uuid4()), 1, 2, 3)
    async with processes.running():
        await processes.start(courier)
        await begun.wait()
        asyncio.get_running_loop().call_later(0.2, go_on.set)
    assert courier.numbers() == [1]
    assert await sql.fetchval("SELECT count(*) FROM jobs") == 2
    assert await sql.fetchval("SELECT lease IS NULL FROM lanes")


async def test_a_process_that_stops_waits_for_no_job_that_hangs(
    sql: asyncpg.Connection, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "DRAIN_SECONDS", 0.1)
    courier = Noting(lambda job: asyncio.Event().wait())
    await add(sql, str(uuid4()), 1)
    async with processes.running():
        await processes.start(courier)
        await until(lambda: asyncio.sleep(0, courier.begun), "the job")
    assert await sql.fetchval("SELECT lease IS NULL FROM lanes")
    assert await sql.fetchval("SELECT count(*) FROM jobs") == 1


async def test_a_job_that_comes_while_its_lane_is_given_back_is_not_forgotten(
    sql: asyncpg.Connection, processes: Processes
) -> None:
    user = str(uuid4())
    courier = Noting()
    async with processes.running():
        for _ in range(2):
            await processes.start(courier)
        for number in range(300):
            await add(sql, user, number)
        await emptied(sql)
    assert sorted(courier.numbers()) == list(range(300))


async def test_goes_on_after_the_database_was_away(sql: asyncpg.Connection, processes: Processes) -> None:
    courier = Noting()
    async with processes.running():
        await processes.start(courier)
        await sql.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        await add(sql, str(uuid4()), 1)
        await emptied(sql)
    assert courier.numbers() == [1]


@pytest.mark.parametrize("steps", range(5))
async def test_a_process_stops_also_if_a_hint_comes_in_that_moment(
    sql: asyncpg.Connection, processes: Processes, steps: int
) -> None:
    async with asyncio.timeout(20):
        async with processes.running():
            outbox = await processes.start(Noting())
            # The first look for lanes is over: from here on it waits for a hint.
            await until(lambda: asyncio.sleep(0, outbox._hints[KIND]._waiters), "the wait for a hint")
            outbox.wake([KIND])
            for _ in range(steps):
                await asyncio.sleep(0)


async def test_a_lane_that_is_not_served_any_more_is_not_renewed(
    sql: asyncpg.Connection, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the database was away its release failed: whoever is served meanwhile must not keep it leased."""
    monkeypatch.setattr(worker, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(worker, "LEASE_SECONDS", 1.0)
    served, left, go_on = str(uuid4()), str(uuid4()), asyncio.Event()
    courier = Noting(lambda job: go_on.wait() if job.user_id == served else None)
    await add(sql, served, 1)
    async with processes.running():
        outbox = await processes.start(courier)
        await until(lambda: asyncio.sleep(0, courier.begun), "a lane to be served")
        async with sql.transaction():
            await add(sql, left, 1)
            await sql.execute(
                "UPDATE lanes SET lease = $1, leased_until = now() + interval '1 second' WHERE user_id = $2",
                outbox._lease,
                left,
            )
        await until(lambda: asyncio.sleep(0, courier.numbers(left)), "the other lane to be free")
        # The first one was renewed all the time: nobody else has begun its job.
        assert [job.attempts for job in courier.begun if job.user_id == served] == [1]
        go_on.set()
        await emptied(sql)


async def test_a_process_that_stops_leaves_no_lane_leased(sql: asyncpg.Connection, processes: Processes) -> None:
    async with processes.running():
        outbox = await processes.start(Noting())
        await add(sql, str(uuid4()), 1)
        # As if it had been leased by a statement whose answer nobody waited for any more.
        await sql.execute(
            "UPDATE lanes SET lease = $1, leased_until = now() + interval '1 hour', due = now() + interval '1 hour'",
            outbox._lease,
        )
    assert await sql.fetchval("SELECT count(*) FILTER (WHERE lease IS NOT NULL) = 0 FROM lanes")
