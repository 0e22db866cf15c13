"""How a lone row is stored: by one short statement, or, if anything is special about it, as rows of a batch are."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from fw.config import Config
from fw.database.bus import PostgresBus
from fw.database.pool import Database, Locked
from fw.errors import NotFound
from fw.inbox.appending import Appender, Way
from fw.inbox.batch import Submission
from tests.support.ids import id_made
from tests.support.people import Person
from tests.support.receiver import make_webhook

COLUMNS = """SELECT cursor, created_cursor, created_at, message, widget_id::text, host(ip_address), metadata::text, is_read,
        deleted_at
    FROM feedback WHERE user_id = $1 AND id = $2"""
INBOX = "SELECT cursor, unread_count, total_count, last_id FROM inboxes WHERE user_id = $1"


@pytest.fixture
def appender(config: Config, database: Database) -> Appender:
    return Appender(database, PostgresBus(config, database))


async def append(appender: Appender, **fields: Any) -> str | Exception:
    [result] = await appender.append([Submission(**{"message": "Hello", **fields})], Way.ALONE)
    return result


async def is_stored_alone(appender: Appender, row: Submission) -> bool:
    """Try the short statement. If it stores nothing the row is as it was."""
    values = (row.user_id, row.username, row.id, row.created_at, row.widget_id, row.ip_address, row.message, row.metadata)
    return bool(await appender._database.changes("feedback.append_alone", *values, True))


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_lone_row_is_stored_as_a_batch_stores_it(
    appender: Appender, user: Person, sql: asyncpg.Connection, is_named: bool
) -> None:
    to: Mapping[str, Any] = {"username": user.username} if is_named else {"user_id": user.id}
    values = {"message": "text", "widget_id": str(uuid4()), "ip_address": "2001:db8::", "metadata": '{"n": 123456789012345.5}'}
    row, bare = Submission(**to, **values), Submission(**to, message="bare")
    assert await is_stored_alone(appender, row)
    assert tuple(await sql.fetchrow(INBOX, user.id)) == (1, 1, 1, UUID(row.id))
    assert await is_stored_alone(appender, bare)
    assert tuple(await sql.fetchrow(INBOX, user.id)) == (2, 2, 2, UUID(bare.id))
    usual, plain = Submission(**to, **values), Submission(**to, message="bare")
    assert await appender.append([usual, plain]) == [usual.id, plain.id]
    for alone, together in ((row, usual), (bare, plain)):
        one, other = [tuple(await sql.fetchrow(COLUMNS, user.id, each.id)) for each in (alone, together)]
        assert one[3:] == other[3:]
        assert one[:3] == (other[0] - 2, other[1] - 2, alone.created_at)


async def test_it_is_stored_if_its_inbox_has_a_later_id(appender: Appender, user: Person, sql: asyncpg.Connection) -> None:
    row = Submission(user_id=user.id, message="late")
    await user.receive("first")
    assert not await is_stored_alone(appender, row)
    [told] = await appender.append([row], Way.ALONE)
    assert str(told) > row.id
    assert (await sql.fetchrow(COLUMNS, user.id, told))["message"] == "late"


async def test_it_is_stored_if_its_hosts_clock_is_ahead(appender: Appender, user: Person, sql: asyncpg.Connection) -> None:
    row = Submission(user_id=user.id, message="ahead", id=id_made(-timedelta(minutes=2)))
    assert not await is_stored_alone(appender, row)
    [told] = await appender.append([row], Way.ALONE)
    assert str(told) < row.id
    assert (await sql.fetchrow(COLUMNS, user.id, told))["message"] == "ahead"


async def test_it_is_stored_and_told_of_if_its_inbox_has_a_webhook(
    appender: Appender, user: Person, sql: asyncpg.Connection
) -> None:
    await make_webhook(user, "https://example.com/hook", "feedback.created")
    row = Submission(user_id=user.id, message="Hello")
    assert not await is_stored_alone(appender, row)
    assert await appender.append([row], Way.ALONE) == [row.id]
    assert await sql.fetchval("SELECT feedback_id::text FROM deliveries WHERE user_id = $1", user.id) == row.id


async def test_a_key_is_kept_and_looked_at(appender: Appender, user: Person) -> None:
    first = await append(appender, user_id=user.id, idempotency_key="k", body_hash=b"b")
    assert await append(appender, user_id=user.id, idempotency_key="k", body_hash=b"b") == first
    assert isinstance(await append(appender, user_id=user.id, idempotency_key="k", body_hash=b"c"), Exception)


async def test_nobody_has_such_an_inbox(appender: Appender, user: Person) -> None:
    assert isinstance(await append(appender, username="nobody"), NotFound)
    assert isinstance(await append(appender, user_id=str(uuid4())), NotFound)


async def test_a_locked_inbox_is_waited_for_a_moment_alone(appender: Appender, user: Person, sql: asyncpg.Connection) -> None:
    row = Submission(user_id=user.id, message="Hello")
    async with sql.transaction():
        await sql.execute("SELECT FROM inboxes WHERE user_id = $1 FOR UPDATE", user.id)
        assert not await is_stored_alone(appender, row)
        [result] = await appender.append([row], Way.ALONE)
        assert isinstance(result, Locked)
    assert await appender.append([row], Way.ALONE) == [row.id]
    assert not appender._locked


async def test_lone_rows_of_several_processes_and_batches_leave_no_gap(
    config: Config, user: Person, sql: asyncpg.Connection
) -> None:
    told: list[str | Exception] = []

    async def send(appender: Appender, size: int) -> None:
        way = Way.ALONE if size == 1 else Way.USUAL
        for _ in range(60):
            told.extend(await appender.append([Submission(user_id=user.id, message="Hello") for _ in range(size)], way))

    async with AsyncExitStack() as stack:
        appenders = []
        for _ in range(3):
            database = await stack.enter_async_context(Database(config))
            appenders.append(Appender(database, PostgresBus(config, database)))
        await asyncio.gather(*(send(appender, size) for appender in appenders for size in (1, 1, 3)))
    rows = await sql.fetch("SELECT id::text, cursor, created_cursor FROM feedback WHERE user_id = $1 ORDER BY id", user.id)
    assert [row["id"] for row in rows] == sorted(map(str, told))
    # The order of ids is that of cursors.
    assert [row["cursor"] for row in rows] == [row["created_cursor"] for row in rows] == list(range(1, 3 * 300 + 1))
    assert tuple(await sql.fetchrow(INBOX, user.id)) == (900, 900, 900, UUID(rows[-1]["id"]))
