"""What has served its time goes."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from fw.background import Background
from fw.config import Config
from fw.database import purge as module
from fw.database.pool import Database
from fw.database.purge import Purge
from tests.conftest import MakeUser
from tests.support.ages import grow_older
from tests.support.people import Person, body, nothing
from tests.support.waiting import until

LOCK = 112685394489712


async def purge(config: Config) -> int:
    async with Database(config) as database:
        return await Purge(database, Background()).purge()


async def age(sql: asyncpg.Connection, user: Person, **interval: float) -> None:
    """Make everything of an inbox so much older."""
    await grow_older(sql, "feedback", "deleted_at", user.id, timedelta(**interval))
    await grow_older(sql, "idempotency", "created_at", user.id, timedelta(**interval))


async def delete_some(user: Person, number: int) -> list[str]:
    ids = [await user.receive(f"{n}") for n in range(number)]
    for feedback_id in ids:
        await nothing(await user.delete(f"/api/feedback/{feedback_id}"))
    return ids


async def count(sql: asyncpg.Connection, table: str, user: Person) -> int:
    return int(await sql.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", user.id))


async def test_deletions_can_be_replayed_for_seven_days_and_then_go(
    config: Config, user: Person, sql: asyncpg.Connection
) -> None:
    await delete_some(user, 3)
    await user.receive("stays")
    await age(sql, user, days=6, hours=23)
    await purge(config)
    assert [event["event"] for event in (await user.changes(0))["events"]] == ["deleted"] * 3 + ["created"]
    await age(sql, user, hours=1)
    await purge(config)
    assert await count(sql, "feedback", user) == 1
    for since in (0, 5):
        assert (await user.changes(since))["events"] == [{"event": "resync", "cursor": 7}]
    # Number 6 was the last deletion: from there nothing is missing.
    assert [event["event"] for event in (await user.changes(6))["events"]] == ["created"]
    assert (await user.inbox())["total_count"] == 1


async def test_many_batches_move_the_horizon_only_over_what_is_gone(
    config: Config, user: Person, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    await delete_some(user, 7)
    await age(sql, user, days=8)
    await purge(config)
    assert await count(sql, "feedback", user) == 0
    assert await sql.fetchval("SELECT horizon FROM inboxes WHERE user_id = $1", user.id) == 14


async def test_idempotency_keys_go_after_a_day(config: Config, user: Person, sql: asyncpg.Connection) -> None:
    for n in range(3):
        headers = {"Idempotency-Key": f"{n}"}
        await body(await user.client.post(f"/api/feedback/{user.username}", json={"message": "x"}, headers=headers), 201)
    await age(sql, user, hours=23)
    await purge(config)
    assert await count(sql, "idempotency", user) == 3
    await age(sql, user, hours=1)
    await purge(config)
    assert await count(sql, "idempotency", user) == 0


async def test_sessions_go_a_day_after_their_end(config: Config, user: Person, sql: asyncpg.Connection) -> None:
    await body(await user.client.post("/api/auth/login", json={"login": user.username, "password": user.password}))
    await sql.execute(
        "UPDATE sessions SET expires_at = now() - interval '25 hours'"
        " WHERE id = (SELECT max(id::text)::uuid FROM sessions WHERE user_id = $1)",
        user.id,
    )
    await purge(config)
    assert await count(sql, "sessions", user) == 1
    await body(await user.get("/api/auth/me"))


async def test_one_process_purges_at_a_time(config: Config, user: Person, sql: asyncpg.Connection) -> None:
    await delete_some(user, 1)
    await age(sql, user, days=8)
    async with sql.transaction():
        await sql.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        await purge(config)
        assert await count(sql, "feedback", user) == 1
    await asyncio.gather(*(purge(config) for _ in range(4)))
    assert await count(sql, "feedback", user) == 0


async def test_a_submission_and_a_purge_do_not_wait_for_each_other_for_ever(
    config: Config, user: Person, sql: asyncpg.Connection
) -> None:
    await delete_some(user, 20)
    await age(sql, user, days=8)
    await asyncio.gather(purge(config), *(user.receive(f"{n}") for n in range(50)), purge(config))
    assert (await user.inbox())["total_count"] == 50


async def test_a_locked_inbox_does_not_stop_the_purge_of_the_others(
    config: Config, user: Person, make_user: MakeUser, sql: asyncpg.Connection
) -> None:
    other = await make_user()
    for person in (user, other):
        await delete_some(person, 3)
        await age(sql, person, days=8)
    async with sql.transaction():
        await sql.execute("SELECT FROM inboxes WHERE user_id = $1 FOR UPDATE", user.id)
        await purge(config)
        assert [await count(sql, "feedback", person) for person in (user, other)] == [3, 0]
    await purge(config)
    assert await count(sql, "feedback", user) == 0


async def test_an_inbox_that_is_locked_for_a_moment_is_purged_in_the_same_turn(
    config: Config, user: Person, make_user: MakeUser, sql: asyncpg.Connection
) -> None:
    other = await make_user()
    for person in (user, other):
        await delete_some(person, 3)
        await age(sql, person, days=8)

    async def is_past_the_other() -> bool:
        return await count(sql, "feedback", other) == 0

    async with sql.transaction():
        await sql.execute("SELECT FROM inboxes WHERE user_id = $1 FOR UPDATE", user.id)
        purging = asyncio.create_task(purge(config))
        await until(is_past_the_other)
    await purging
    assert await count(sql, "feedback", user) == 0
