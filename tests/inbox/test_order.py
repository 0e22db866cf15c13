"""The order of a list is given under the inbox's lock, whatever the clocks of the hosts say."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from fw import ids
from fw.config import Config
from fw.database.bus import PostgresBus
from fw.database.pool import Database
from fw.inbox.appending import Appender
from fw.inbox.batch import Submission
from fw.inbox.intake import Intake
from tests.support.ids import id_made
from tests.support.people import Person, body

BEHIND = timedelta(seconds=2)
FAR = timedelta(days=30)


async def submit(config: Config, *rows: Submission) -> list[str]:
    async with Database(config) as database, Intake(database, PostgresBus(config, database)) as intake:
        return [await intake.submit(row) for row in rows]


async def pages(user: Person, order: str, limit: int = 2) -> list[str]:
    """Read the messages of all pages."""
    found: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        page = await user.inbox(order=order, limit=limit, **({"after": page["next"]} if page["next"] else {}))
        found += [item["message"] for item in page["items"]]
    return found


async def test_a_host_whose_clock_is_behind_takes_its_turn_in_the_order(config: Config, user: Person) -> None:
    await user.receive("first")
    [late] = await submit(config, Submission(user_id=user.id, message="second", id=id_made(BEHIND)))
    await user.receive("third")
    assert await pages(user, "oldest") == ["first", "second", "third"]
    assert await pages(user, "newest") == ["third", "second", "first"]
    item = await body(await user.get(f"/api/feedback/{late}"))
    assert item["message"] == "second"


async def test_a_page_skips_nothing_that_such_a_host_adds_behind_it(config: Config, user: Person) -> None:
    for n in range(3):
        await user.receive(f"{n}")
    first = await user.inbox(order="oldest", limit=3)
    assert first["next"] is None
    page = await user.inbox(order="oldest", limit=2)
    await submit(config, Submission(user_id=user.id, message="added", id=id_made(BEHIND)))
    rest = await user.inbox(order="oldest", limit=10, after=page["next"])
    assert [item["message"] for item in page["items"] + rest["items"]] == ["0", "1", "2", "added"]


async def test_the_id_that_is_told_is_the_one_that_is_stored(config: Config, user: Person, sql: asyncpg.Connection) -> None:
    await user.receive("first")
    row = Submission(user_id=user.id, message="late", id=id_made(BEHIND))
    [told] = await submit(config, row)
    assert told > row.id
    assert UUID(told).version == 7
    stored = await sql.fetchrow("SELECT message, created_at FROM feedback WHERE user_id = $1 AND id = $2", user.id, told)
    assert stored["message"] == "late"
    assert stored["created_at"] == ids.created_at(told)


async def test_a_batch_of_such_a_host_keeps_its_own_order(config: Config, user: Person) -> None:
    await user.receive("first")
    rows = [Submission(user_id=user.id, message=f"{n}", id=id_made(BEHIND)) for n in range(10)]
    async with Database(config) as database:
        results = await Appender(database, PostgresBus(config, database)).append(rows)
    assert results == sorted(results, key=str)
    assert await pages(user, "oldest", 3) == ["first", *(f"{n}" for n in range(10))]


@pytest.mark.parametrize("body_hash", [b"same", b"other"])
async def test_a_key_leads_to_the_id_that_was_stored(config: Config, user: Person, body_hash: bytes) -> None:
    await user.receive("first")
    row = Submission(user_id=user.id, message="late", id=id_made(BEHIND), idempotency_key="k", body_hash=b"same")
    [told] = await submit(config, row)
    again = Submission(user_id=user.id, message="late", id=id_made(BEHIND), idempotency_key="k", body_hash=body_hash)
    if body_hash == b"same":
        assert await submit(config, again) == [told]
    else:
        with pytest.raises(Exception, match="another body"):
            await submit(config, again)
    assert await pages(user, "oldest") == ["first", "late"]


async def test_a_host_that_is_in_time_again_uses_its_own_ids(config: Config, user: Person) -> None:
    await submit(config, Submission(user_id=user.id, message="late", id=id_made(BEHIND)))
    row = Submission(user_id=user.id, message="in time")
    assert await submit(config, row) == [row.id]


async def test_a_clock_that_is_ahead_makes_others_follow_closely(config: Config, user: Person) -> None:
    ahead = Submission(user_id=user.id, message="ahead", id=id_made(-BEHIND))
    row = Submission(user_id=user.id, message="after it")
    told = await submit(config, ahead, row)
    assert told[0] == ahead.id
    assert told[1] > told[0]
    assert ids.created_at(told[1]) - ids.created_at(told[0]) <= timedelta(milliseconds=1)


@pytest.mark.parametrize("key", [None, "k"])
async def test_a_clock_that_is_far_ahead_does_not_take_the_inbox_with_it(
    config: Config, user: Person, sql: asyncpg.Connection, key: str | None
) -> None:
    first = await user.receive("in time")
    rows = [Submission(user_id=user.id, message="in time too")]
    rows += [
        Submission(user_id=user.id, message=f"ahead {n}", id=id_made(-FAR), idempotency_key=key and f"{key}{n}", body_hash=b"x")
        for n in range(3)
    ]
    async with Database(config) as database:
        told = [str(result) for result in await Appender(database, PostgresBus(config, database)).append(rows)]
    last = await user.receive("after them")
    assert [first, *told, last] == sorted([first, *told, last])
    stored = await sql.fetch("SELECT id, message, created_at FROM feedback WHERE user_id = $1 ORDER BY id", user.id)
    assert [row["message"] for row in stored] == ["in time", "in time too", "ahead 0", "ahead 1", "ahead 2", "after them"]
    now = datetime.now(UTC)
    for row, told_id in zip(stored, [first, *told, last], strict=True):
        assert str(row["id"]) == told_id
        assert row["created_at"] == ids.created_at(told_id)
        assert abs(row["created_at"] - now) < timedelta(minutes=1)
    if key:
        assert await submit(config, rows[1]) == [told[1]]
