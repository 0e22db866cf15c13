"""The intake: a group commit that answers each of its rows for itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw.config import Config
from fw.database.bus import PostgresBus
from fw.database.pool import Database, Locked
from fw.errors import IdempotencyMismatch, NotFound, Problem, Unavailable
from fw.inbox.batch import Submission
from fw.inbox.intake import MANY, Intake
from tests.conftest import MakeUser
from tests.support.people import Person, problem
from tests.support.waiting import someone_waits_for, until


@pytest.fixture
def bus(config: Config, database: Database) -> PostgresBus:
    return PostgresBus(config, database)


@pytest.fixture
async def intake(database: Database, bus: PostgresBus) -> AsyncIterator[Intake]:
    async with Intake(database, bus) as intake:
        yield intake


@pytest.fixture
async def people(make_user: MakeUser) -> list[Person]:
    return [await make_user() for _ in range(3)]


def to(person: Person, message: str = "Hello", **fields: Any) -> Submission:
    return Submission(user_id=person.id, message=message, **fields)


def by_name(person: Person, message: str = "Hello", **fields: Any) -> Submission:
    return Submission(username=person.username, message=message, **fields)


async def queue(intake: Intake, rows: Sequence[Submission]) -> "list[asyncio.Task[str]]":
    """Submit all at once while all writers are busy, and start one of them, so that they are one batch."""
    intake._active += intake._most_writers
    tasks = [asyncio.create_task(intake.submit(row)) for row in rows]
    await asyncio.sleep(0)
    intake._active -= intake._most_writers - 1
    intake._go_on()
    return tasks


async def submit(intake: Intake, rows: Sequence[Submission]) -> list[Any]:
    """Submit all as one batch, and return an id or an exception for each."""
    return await asyncio.wait_for(asyncio.gather(*await queue(intake, rows), return_exceptions=True), 20)


async def begin(intake: Intake, rows: Sequence[Submission]) -> "list[asyncio.Task[str]]":
    """Queue rows, none of which is being written yet."""
    tasks = await queue(intake, rows)
    assert len(intake._waiting) == len(rows)
    return tasks


async def stored(sql: asyncpg.Connection, person: Person) -> dict[str, str]:
    """Return the messages in an inbox, by their ids, and check its numbers."""
    rows = await sql.fetch(
        "SELECT id::text, message, cursor FROM feedback WHERE user_id = $1::text::uuid ORDER BY cursor", person.id
    )
    inbox = await sql.fetchrow("SELECT cursor, total_count FROM inboxes WHERE user_id = $1::text::uuid", person.id)
    assert [row["cursor"] for row in rows] == list(range(1, len(rows) + 1))
    assert tuple(inbox) == (len(rows), len(rows))
    return {row["id"]: row["message"] for row in rows}


def under(results: Sequence[Any], rows: Sequence[Submission]) -> dict[str, str]:
    """Return the messages of rows by the ids that were told."""
    return {told: row.message for told, row in zip(results, rows, strict=True)}


async def test_stores_a_batch_in_its_order(intake: Intake, people: list[Person], sql: asyncpg.Connection) -> None:
    rows = [to(people[0], f"{n}") for n in range(50)]
    assert await submit(intake, rows) == [row.id for row in rows]
    assert list((await stored(sql, people[0])).items()) == [(row.id, row.message) for row in rows]


async def test_stores_more_than_a_batch(
    database: Database, bus: PostgresBus, people: list[Person], sql: asyncpg.Connection
) -> None:
    rows = [to(people[n % 3], f"{n}") for n in range(100)]
    async with Intake(database, bus, batch=7) as intake:
        results = await submit(intake, rows)
    for n, person in enumerate(people):
        assert await stored(sql, person) == under(results[n::3], rows[n::3])


async def test_answers_unavailable_where_the_queue_is_full(
    database: Database, bus: PostgresBus, people: list[Person], sql: asyncpg.Connection
) -> None:
    rows = [to(people[0], f"{n}") for n in range(10)]
    async with Intake(database, bus, queue=4) as intake:
        results = await submit(intake, rows)
        assert results[:4] == [row.id for row in rows[:4]]
        assert [type(result) for result in results[4:]] == [Unavailable] * 6
        assert await submit(intake, rows[4:8]) == [row.id for row in rows[4:8]]
    assert list(await stored(sql, people[0])) == [row.id for row in rows[:8]]


async def test_answers_unavailable_where_it_is_closed(
    database: Database, bus: PostgresBus, people: list[Person], sql: asyncpg.Connection
) -> None:
    intake = Intake(database, bus)
    with pytest.raises(Unavailable):
        await intake.submit(to(people[0]))
    async with intake:
        pass
    with pytest.raises(Unavailable):
        await intake.submit(to(people[0]))
    assert await stored(sql, people[0]) == {}


async def test_answers_unavailable_without_a_database(config: Config, bus: PostgresBus, people: list[Person]) -> None:
    async with (
        Database(replace(config, database_url="postgresql://nobody@127.0.0.1:1/nowhere")) as nowhere,
        Intake(nowhere, bus) as intake,
    ):
        results = await submit(intake, [to(people[0]) for _ in range(5)])
    assert [type(result) for result in results] == [Unavailable] * 5


async def test_writes_all_that_is_queued_when_it_closes(
    database: Database, bus: PostgresBus, people: list[Person], sql: asyncpg.Connection
) -> None:
    rows = [to(people[0], f"{n}") for n in range(40)]
    async with Intake(database, bus, batch=3) as intake:
        tasks = await begin(intake, rows)
    assert not intake._waiting
    assert not intake._active
    assert await stored(sql, people[0]) == under(await asyncio.gather(*tasks), rows)


async def test_needs_no_second_writer_for_what_comes_one_after_the_other(
    database: Database, bus: PostgresBus, people: list[Person], sql: asyncpg.Connection
) -> None:
    async with Intake(database, bus, writers=1) as intake, asyncio.timeout(3):
        for n in range(3):
            await intake.submit(to(people[0], f"{n}"))
    assert list((await stored(sql, people[0])).values()) == ["0", "1", "2"]


async def test_answers_all_who_come_whenever_they_like(
    database: Database, bus: PostgresBus, people: list[Person], sql: asyncpg.Connection
) -> None:
    async with Intake(database, bus, batch=2) as intake:

        async def chain(person: Person) -> None:
            for n in range(20):
                await intake.submit(to(person, f"{n}"))

        await asyncio.wait_for(asyncio.gather(*(chain(person) for person in people * 4)), 20)
    assert [len(await stored(sql, person)) for person in people] == [80] * 3


async def test_knows_no_such_inbox_and_harms_no_other(intake: Intake, people: list[Person], sql: asyncpg.Connection) -> None:
    rows = [
        to(people[0], "by id"),
        Submission(user_id=str(uuid4()), message="nobody's id"),
        by_name(people[0], "by name"),
        Submission(username="nobody", message="nobody's name"),
        by_name(people[1], "another"),
        Submission(username="zzz", message="the last", idempotency_key="k", body_hash=b"h"),
    ]
    results = await submit(intake, rows)
    assert [type(results[n]) for n in (1, 3, 5)] == [NotFound] * 3
    assert await stored(sql, people[0]) == under(results[0:3:2], rows[0:3:2])
    assert await stored(sql, people[1]) == under(results[4:5], rows[4:5])


async def test_answers_not_found_where_there_is_no_inbox_at_all(intake: Intake) -> None:
    rows = [Submission(username=f"nobody-{n}", message="Hello") for n in range(3)]
    assert [type(result) for result in await submit(intake, rows)] == [NotFound] * 3


@pytest.mark.parametrize(
    "poison",
    [
        {"message": "NUL \0"},
        {"metadata": "{"},
        {"widget_id": "no id"},
        {"id": "no id"},
        {"message": "lone \ud800 surrogate"},
        {"ip_address": "no address"},
        {"message": 5},
    ],
    ids=["NUL", "no JSON", "no widget id", "no id", "lone surrogate", "no address", "no text"],
)
async def test_a_poisonous_row_fails_alone(
    intake: Intake, people: list[Person], sql: asyncpg.Connection, poison: dict[str, Any]
) -> None:
    rows = [to(people[n % 3], f"{n}") for n in range(20)]
    rows[7] = Submission(**{"user_id": people[1].id, "message": "bad", **poison})
    results = await submit(intake, rows)
    assert isinstance(results[7], Exception)
    assert not isinstance(results[7], Unavailable), "trying again would not help"
    assert results[:7] + results[8:] == [row.id for row in rows[:7] + rows[8:]]
    assert [len(await stored(sql, person)) for person in people] == [7, 6, 6]


@pytest.mark.parametrize("poison", [{"message": "a secret \ud800"}, {"metadata": '{"a": secret}'}])
async def test_writes_nothing_of_a_poisonous_row_to_the_log(
    intake: Intake, people: list[Person], caplog: pytest.LogCaptureFixture, poison: dict[str, str]
) -> None:
    [result] = await submit(intake, [Submission(**{"user_id": people[0].id, "message": "a secret", **poison})])
    assert isinstance(result, Problem)
    assert caplog.records
    assert "secret" not in caplog.text


async def test_several_poisonous_rows_fail_alone(intake: Intake, people: list[Person], sql: asyncpg.Connection) -> None:
    rows = [to(people[0], f"{n}\0" if n in {0, 5, 6, 15} else f"{n}") for n in range(16)]
    results = await submit(intake, rows)
    assert [n for n, result in enumerate(results) if isinstance(result, Problem)] == [0, 5, 6, 15]
    assert len(await stored(sql, people[0])) == 12


async def test_an_id_that_is_taken_becomes_a_later_one(intake: Intake, people: list[Person], sql: asyncpg.Connection) -> None:
    first = to(people[0], "first")
    await intake.submit(first)
    rows = [replace(first, message="second"), to(people[0], "third")]
    results = await submit(intake, rows)
    assert results[0] > first.id
    assert await stored(sql, people[0]) == {first.id: "first", **under(results, rows)}


async def test_one_who_leaves_before_the_writing_takes_nobody_along(
    intake: Intake, people: list[Person], sql: asyncpg.Connection
) -> None:
    rows = [to(people[0], f"{n}") for n in range(5)]
    tasks = await begin(intake, rows)
    tasks[2].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[2], asyncio.CancelledError)
    assert list(await stored(sql, people[0])) == [row.id for row in rows[:2] + rows[3:]]


async def test_one_who_leaves_during_the_writing_takes_nobody_along(
    intake: Intake, people: list[Person], sql: asyncpg.Connection
) -> None:
    rows = [to(people[0], f"{n}") for n in range(5)]
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("SELECT FROM inboxes WHERE user_id = $1::text::uuid FOR UPDATE", people[0].id)
    tasks = await begin(intake, rows)

    async def is_writing() -> bool:
        return not intake._waiting

    await until(is_writing, "the batch to be on its way")
    tasks[2].cancel()
    await asyncio.sleep(0)
    await transaction.rollback()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[2], asyncio.CancelledError)
    assert results[:2] + results[3:] == [row.id for row in rows[:2] + rows[3:]]
    # What was on its way may be stored or not; here nothing could stop it.
    assert len(await stored(sql, people[0])) == 5


async def test_all_may_leave(intake: Intake, people: list[Person], sql: asyncpg.Connection) -> None:
    tasks = await begin(intake, [to(people[0]) for _ in range(5)])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    last = to(people[0])
    assert await submit(intake, [last]) == [last.id]
    assert list(await stored(sql, people[0])) == [last.id]


def keyed(submission: Submission, key: str, body: str) -> Submission:
    return replace(submission, idempotency_key=key, body_hash=body.encode())


async def test_gives_each_row_its_own_result(intake: Intake, people: list[Person], sql: asyncpg.Connection) -> None:
    one, two, three = people
    known = [keyed(to(person, "known"), "known", "body") for person in (one, two)]
    assert await submit(intake, known) == [row.id for row in known]
    rows = [
        keyed(by_name(two), "known", "body"),
        to(three, "plain"),
        keyed(to(one), "known", "other body"),
        Submission(username="nobody", message="lost"),
        keyed(to(one, "new"), "new", "body"),
        by_name(one, "named"),
        keyed(by_name(three, "theirs"), "known", "body"),
        keyed(to(two), "known", "body"),
        keyed(to(one), "new", "body"),
        to(one, "id"),
        keyed(to(one), "new", "other body"),
        keyed(Submission(user_id=str(uuid4()), message="lost"), "known", "body"),
    ]
    results = await submit(intake, rows)
    assert [type(results[n]) for n in (2, 3, 10, 11)] == [IdempotencyMismatch, NotFound, IdempotencyMismatch, NotFound]
    assert results[0] == results[7] == known[1].id
    assert results[8] == results[4]
    new = {"new": results[4], "named": results[5], "id": results[9]}
    assert await stored(sql, one) == {known[0].id: "known", **{stored_id: text for text, stored_id in new.items()}}
    assert await stored(sql, two) == {known[1].id: "known"}
    assert await stored(sql, three) == {results[1]: "plain", results[6]: "theirs"}


async def test_knows_a_key_by_whichever_name_of_the_inbox(
    intake: Intake, people: list[Person], sql: asyncpg.Connection
) -> None:
    rows = [keyed(make(people[0]), "k", "body") for make in (to, by_name, to, by_name)]
    results = await submit(intake, rows)
    assert len(set(results)) == 1
    assert list(await stored(sql, people[0])) == [results[0]]


async def test_stores_every_column(intake: Intake, people: list[Person], sql: asyncpg.Connection) -> None:
    row = to(people[0], "text", widget_id=str(uuid4()), ip_address="2001:db8::", metadata='{"n": 12345678901234567890.5}')
    bare = to(people[0], "bare")
    await submit(intake, [row, bare])
    found = await sql.fetch(
        "SELECT id::text, widget_id::text, host(ip_address), metadata::text, created_at, is_read, message FROM feedback"
        " WHERE user_id = $1::text::uuid ORDER BY cursor",
        people[0].id,
    )
    assert [tuple(line) for line in found] == [
        (row.id, row.widget_id, "2001:db8::", row.metadata, row.created_at, False, "text"),
        (bare.id, None, None, None, bare.created_at, False, "bare"),
    ]


async def test_writers_of_many_inboxes_never_lock_each_other_out(
    config: Config, bus: PostgresBus, people: list[Person], sql: asyncpg.Connection
) -> None:
    async with (
        Database(config) as one,
        Database(config) as other,
        Intake(one, bus, batch=9) as here,
        Intake(other, bus, batch=9) as there,
    ):
        forth, back = people, people[::-1]
        rows = [
            [keyed(to(forth[n % 3], f"{n}"), f"key {n}", "b") if n % 4 else by_name(forth[n % 3], f"{n}") for n in range(150)],
            [keyed(to(back[n % 3], f"{n}"), f"key {-n}", "b") if n % 4 else by_name(back[n % 3], f"{n}") for n in range(150)],
        ]
        results = await asyncio.gather(submit(here, rows[0]), submit(there, rows[1]))
    told = under(results[0], rows[0]) | under(results[1], rows[1])
    kept = [await stored(sql, person) for person in people]
    assert [len(inbox) for inbox in kept] == [100] * 3
    assert kept[0] | kept[1] | kept[2] == told


async def test_few_rows_wait_for_a_batch_that_is_being_written_but_not_for_long(intake: Intake, people: list[Person]) -> None:
    intake._active += 1
    few = asyncio.create_task(intake.submit(to(people[0])))
    await asyncio.sleep(0)
    assert (intake._active, intake.waiting) == (1, 1)
    assert await asyncio.wait_for(few, 20)
    intake._active -= 1


async def test_many_rows_do_not_wait_for_a_batch_that_is_being_written(
    intake: Intake, people: list[Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.inbox.intake.MANY_SECONDS", 3600)
    intake._active += 1
    many = [asyncio.create_task(intake.submit(to(people[n % 3]))) for n in range(MANY)]
    assert len(set(await asyncio.wait_for(asyncio.gather(*many), 20))) == MANY
    intake._active -= 1


async def test_a_locked_inbox_fails_alone_and_the_others_go_on(
    intake: Intake, people: list[Person], sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    locked, free = people[:2]
    async with sql.transaction():
        await sql.execute("SELECT FROM inboxes WHERE user_id = $1::text::uuid FOR UPDATE", locked.id)
        results = await submit(intake, [to(people[n % 3], f"{n}") for n in range(9)])
        assert [type(result) for result in results] == [Locked, str, str] * 3
        # Now it is known as locked: nobody waits for it again.
        results = await submit(intake, [to(locked), to(free), by_name(free)])
        assert [type(result) for result in results] == [Locked, str, str]
        assert [record.message for record in caplog.records if record.name == "fw.intake"] == ["an inbox is locked"]
    assert [type(result) for result in await submit(intake, [to(locked), to(free)])] == [str, str]
    assert not intake._appender._locked
    assert len(await stored(sql, locked)) == 1
    assert len(await stored(sql, free)) == 6


async def test_rows_of_an_inbox_that_is_locked_for_longer_are_written_together_when_it_is_free(
    intake: Intake, people: list[Person], sql: asyncpg.Connection
) -> None:
    locked, free = people[:2]
    async with sql.transaction():
        await sql.execute("SELECT FROM inboxes WHERE user_id = $1::text::uuid FOR UPDATE", locked.id)
        waiting = [asyncio.create_task(intake.submit(to(locked, f"{n}"))) for n in range(30)]

        async def one_is_waited_for() -> bool:
            return intake._appender._patient._value < 2

        await until(one_is_waited_for, "the rows to wait for their inbox")
        # Batches of others go on meanwhile, those with rows of the locked inbox too.
        more = asyncio.create_task(intake.submit(to(locked, "more")))
        assert [type(result) for result in await submit(intake, [to(free), by_name(free)])] == [str, str]
        await someone_waits_for(sql)
        assert not more.done()
    results = await asyncio.gather(*waiting, more)
    assert len(set(results)) == len(await stored(sql, locked)) == 31
    assert not intake._held


async def test_of_many_locked_inboxes_some_are_told_to_come_again(
    intake: Intake, people: list[Person], sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.inbox.appending.PATIENT_SECONDS", 0.05)
    async with sql.transaction():
        for person in people:
            await sql.execute("SELECT FROM inboxes WHERE user_id = $1::text::uuid FOR UPDATE", person.id)
        results = await submit(intake, [to(person) for person in people])
        assert [type(result) for result in results] == [Locked] * 3
    assert [type(result) for result in await submit(intake, [to(person) for person in people])] == [str] * 3


async def test_a_locked_inbox_alone_is_unavailable_in_a_moment(
    client: TestClient, user: Person, sql: asyncpg.Connection
) -> None:
    async with sql.transaction():
        await sql.execute("SELECT FROM inboxes WHERE user_id = $1 FOR UPDATE", user.id)
        response = await client.post(f"/api/feedback/{user.username}", json={"message": "Hello"})
        await problem(response, 503, "unavailable")
        assert int(response.headers["Retry-After"]) > 0
        await problem(await user.post("/api/feedback/read", json={"up_to": 1}), 503, "unavailable")
        await problem(await user.get(f"/api/feedback/{uuid4()}"), 404, "not-found")
    await user.receive()


async def test_rows_that_wait_are_refused_with_the_batch_for_which_the_database_was_silent(
    database: Database, bus: PostgresBus, people: list[Person], sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.database.pool.USUAL_SECONDS", 0.1)
    async with Intake(database, bus, writers=1) as intake:
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute("LOCK TABLE feedback")
        first = await begin(intake, [to(people[0])])

        async def is_writing() -> bool:
            return not intake._waiting

        await until(is_writing, "the batch to be on its way")
        later = [asyncio.create_task(intake.submit(to(person))) for person in people]
        results = await asyncio.gather(*first, *later, return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * 4
        await transaction.rollback()
