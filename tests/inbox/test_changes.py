"""GET /api/feedback/changes."""

import asyncio
import itertools
from secrets import token_hex
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw.database.listener import LISTENER
from fw.inbox.batch import Submission
from fw.inbox.feed import FEED, Reading
from fw.inbox.hub import HUB
from fw.inbox.intake import INTAKE
from tests.conftest import MakeClient, MakeUser
from tests.support.people import Person, body, nothing, problem
from tests.support.polls import PATH, poll, watched
from tests.support.waiting import until


async def fill(person: Person, count: int) -> list[str]:
    """Receive many at once, by the intake's own door."""
    intake = person.client.app[INTAKE]  # type: ignore[index]
    return list(await asyncio.gather(*(intake.submit(Submission(user_id=person.id, message=f"{n}")) for n in range(count))))


async def read(person: Person, feedback_id: str, is_read: bool = True) -> None:
    await body(await person.patch(f"/api/feedback/{feedback_id}/read", json={"is_read": is_read}))


async def delete(person: Person, feedback_id: str) -> None:
    await nothing(await person.delete(f"/api/feedback/{feedback_id}"))


def names(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return [(event["event"], event["cursor"]) for event in answer["events"]]


async def listening(client: TestClient) -> None:
    listener = client.app[LISTENER]  # type: ignore[index]

    async def listens() -> bool:
        return bool(listener.is_listening)

    await until(listens, "the listener to listen")


async def test_tells_nothing_of_an_empty_inbox(user: Person) -> None:
    assert await user.changes(0) == {"events": [], "cursor": 0, "more": False}


async def test_tells_no_more_bytes_at_once_than_a_reading_holds(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.inbox.feed.MOST_BYTES", 10_000)
    sizes = [4000, 4000, 4000, 5000, 10, 10, 5000, 5000]
    for size in sizes:
        await user.receive("x" * size)
    found, since = [], 0
    while True:
        answer = await user.changes(since)
        found.append([len(event["feedback"]["message"]) for event in answer["events"]])
        since = answer["cursor"]
        if not answer["more"]:
            break
    # One that goes beyond is still told whole, so that every answer brings a reader on.
    assert found == [[4000, 4000, 4000], [5000, 10, 10, 5000], [5000]]
    assert since == len(sizes)


async def test_counts_the_bytes_of_messages_and_metadata(user: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.inbox.feed.MOST_BYTES", 5_000)
    for _ in range(3):
        # Random, so that it is not stored in fewer bytes.
        await user.receive("ü" * 1000, metadata={"n": token_hex(800)})
    answer = await user.changes(0)
    assert (len(answer["events"]), answer["more"]) == (2, True)


async def test_begins_at_the_beginning_by_default(user: Person) -> None:
    await user.receive()
    assert names(await body(await user.get(PATH))) == [("created", 1)]


async def test_tells_what_was_created(user: Person) -> None:
    feedback_id = await user.receive("Hello", metadata={"n": 1})
    item = await body(await user.get(f"/api/feedback/{feedback_id}"))
    assert await user.changes(0) == {
        "events": [{"event": "created", "cursor": 1, "feedback": item}],
        "cursor": 1,
        "more": False,
    }


@pytest.mark.parametrize("is_read", [True, False])
async def test_tells_what_was_updated(user: Person, is_read: bool) -> None:
    feedback_id = await user.receive()
    await read(user, feedback_id)
    if not is_read:
        await read(user, feedback_id, is_read=False)
    cursor = 2 if is_read else 3
    item = await body(await user.get(f"/api/feedback/{feedback_id}"))
    assert item["is_read"] is is_read
    answer = await user.changes(cursor - 1)
    assert answer == {"events": [{"event": "updated", "cursor": cursor, "feedback": item}], "cursor": cursor, "more": False}


async def test_tells_what_was_deleted(user: Person) -> None:
    feedback_id = await user.receive()
    await delete(user, feedback_id)
    assert await user.changes(1) == {
        "events": [{"event": "deleted", "cursor": 2, "id": feedback_id}],
        "cursor": 2,
        "more": False,
    }


async def test_merges_several_changes_of_an_item_into_its_latest(user: Person) -> None:
    one, two = await user.receive(), await user.receive()
    await read(user, one)
    await read(user, one, is_read=False)
    await read(user, one)
    answer = await user.changes(2)
    assert names(answer) == [("updated", 5)]
    assert answer["events"][0]["feedback"]["is_read"] is True
    assert names(await user.changes(0)) == [("created", 2), ("created", 5)]
    await delete(user, two)
    assert names(await user.changes(0)) == [("created", 5), ("deleted", 6)]


async def test_tells_one_who_has_not_seen_an_item_that_it_was_created(user: Person) -> None:
    feedback_id = await user.receive()
    await read(user, feedback_id)
    assert names(await user.changes(0)) == [("created", 2)]
    assert names(await user.changes(1)) == [("updated", 2)]


async def test_goes_on_from_its_own_cursor(user: Person) -> None:
    cursor, seen = 0, []
    for n in range(3):
        feedback_id = await user.receive(str(n))
        answer = await user.changes(cursor)
        cursor = answer["cursor"]
        seen.extend(names(answer))
        await read(user, feedback_id)
    assert seen == [("created", 1), ("updated", 2), ("created", 3), ("updated", 4), ("created", 5)]
    assert names(await user.changes(cursor)) == [("updated", 6)]
    assert (await user.changes(6))["events"] == []


async def test_goes_on_from_the_cursor_of_the_list(user: Person) -> None:
    await user.receive()
    cursor = (await user.inbox())["cursor"]
    assert (await user.changes(cursor))["events"] == []
    await user.receive()
    assert names(await user.changes(cursor)) == [("created", 2)]


async def test_tells_of_own_items_alone(user: Person, make_user: MakeUser) -> None:
    other = await make_user()
    await other.receive()
    assert await user.changes(0) == {"events": [], "cursor": 0, "more": False}


async def test_tells_of_500_at_once(user: Person) -> None:
    await fill(user, 500)
    answer = await user.changes(0)
    assert (len(answer["events"]), answer["cursor"], answer["more"]) == (500, 500, False)


async def test_tells_of_more_page_by_page(user: Person) -> None:
    sent = await fill(user, 1201)
    cursor, seen, sizes = 0, [], []
    more = True
    while more:
        answer = await user.changes(cursor)
        cursor, more = answer["cursor"], answer["more"]
        assert cursor == answer["events"][-1]["cursor"]
        seen.extend(answer["events"])
        sizes.append(len(answer["events"]))
    assert sizes == [500, 500, 201]
    assert [event["cursor"] for event in seen] == list(range(1, 1202))
    assert {event["feedback"]["id"] for event in seen} == set(sent)


async def test_follows_what_changes_between_pages(user: Person) -> None:
    await fill(user, 502)
    first = await user.changes(0)
    await read(user, first["events"][0]["feedback"]["id"])
    await delete(user, first["events"][1]["feedback"]["id"])
    rest = await user.changes(first["cursor"])
    assert names(rest) == [("created", 501), ("created", 502), ("updated", 503), ("deleted", 504)]
    assert (rest["cursor"], rest["more"]) == (504, False)


@pytest.mark.parametrize("since", [2, 1000, 2**63 - 1])
async def test_has_one_beyond_the_inbox_begin_anew(user: Person, since: int) -> None:
    await user.receive()
    assert await user.changes(since) == {"events": [{"event": "resync", "cursor": 1}], "cursor": 1, "more": False}


async def test_has_one_from_before_the_horizon_begin_anew(user: Person, sql: asyncpg.Connection) -> None:
    ids = [await user.receive() for _ in range(3)]
    await delete(user, ids[0])
    await user.receive()
    await sql.execute("UPDATE inboxes SET horizon = 4 WHERE user_id = $1::text::uuid", user.id)
    assert await user.changes(3) == {"events": [{"event": "resync", "cursor": 5}], "cursor": 5, "more": False}
    assert names(await user.changes(0)) == [("resync", 5)]
    assert names(await user.changes(4)) == [("created", 5)]


async def test_has_one_begin_anew_once_where_much_has_changed(user: Person, sql: asyncpg.Connection) -> None:
    await fill(user, 600)
    await sql.execute("UPDATE inboxes SET horizon = 2 WHERE user_id = $1::text::uuid", user.id)
    assert await user.changes(1) == {"events": [{"event": "resync", "cursor": 600}], "cursor": 600, "more": False}


async def test_does_not_wait_to_have_one_begin_anew(user: Person) -> None:
    assert names(await user.changes(7, wait=30)) == [("resync", 0)]


async def test_does_not_wait_where_there_is_something(user: Person) -> None:
    await user.receive()
    assert names(await user.changes(0, wait=30)) == [("created", 1)]


async def test_ends_empty_after_the_wait(user: Person) -> None:
    await user.receive()
    assert await user.changes(1, wait=0.2) == {"events": [], "cursor": 1, "more": False}


async def test_wakes_when_something_arrives(user: Person, client: TestClient) -> None:
    await listening(client)
    waiting = await poll(client, user, 0)
    await user.receive()
    assert names(await waiting) == [("created", 1)]


async def test_wakes_when_something_is_read_or_deleted(user: Person, client: TestClient) -> None:
    await listening(client)
    feedback_id = await user.receive()
    waiting = await poll(client, user, 1)
    await read(user, feedback_id)
    assert names(await waiting) == [("updated", 2)]
    waiting = await poll(client, user, 2)
    await body(await user.post("/api/feedback/read", json={"up_to": 2}))
    await delete(user, feedback_id)
    assert names(await waiting) == [("deleted", 3)]


async def test_wakes_by_what_another_server_stores(user: Person, make_client: MakeClient) -> None:
    here = await make_client()
    await listening(here)
    waiting = await poll(here, user, 0)
    await user.receive()
    assert names(await waiting) == [("created", 1)]


async def test_wakes_all_who_wait(user: Person, make_client: MakeClient, client: TestClient) -> None:
    servers = [client, await make_client()]
    for server in servers:
        await listening(server)
    waiting = [await poll(servers[n % 2], user, 0) for n in range(6)]
    await user.receive()
    assert [names(answer) for answer in await asyncio.gather(*waiting)] == [[("created", 1)]] * 6


async def test_is_not_ended_by_what_others_get(user: Person, make_user: MakeUser, client: TestClient) -> None:
    await listening(client)
    other = await make_user()
    waiting = await poll(client, user, 0)
    theirs = await poll(client, other, 0)
    await other.receive()
    await theirs
    assert not waiting.done()
    await user.receive()
    assert names(await waiting) == [("created", 1)]


async def test_watches_no_longer_than_it_waits(user: Person, client: TestClient) -> None:
    await user.changes(0, wait=0.01)
    assert not client.app[HUB]._watches  # type: ignore[index]


async def test_watches_no_longer_than_its_client(user: Person, client: TestClient) -> None:
    waiting = await poll(client, user, 0)
    waiting.cancel()

    async def gone() -> bool:
        return not client.app[HUB]._watches  # type: ignore[index]

    await until(gone, "the watch to be gone")


async def test_ends_when_the_server_does(user: Person, make_client: MakeClient) -> None:
    going = await make_client()
    waiting = await poll(going, user, 0)
    await going.server.close()
    assert await waiting == {"events": [], "cursor": 0, "more": False}


async def test_ends_when_the_token_does(user: Person, client: TestClient) -> None:
    await listening(client)

    async def ask() -> int:
        return (await user.get(PATH, params={"wait": 30})).status

    waiting = asyncio.create_task(ask())
    await watched(client, user)
    await nothing(await user.post("/api/auth/logout"))
    await user.receive("Not for those who have logged out")
    assert await waiting == 401


async def test_ends_when_the_token_does_while_it_reads(
    user: Person, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = client.app[FEED]  # type: ignore[index]
    read_now, numbers = feed.read, itertools.count(1)

    async def read_late(user_id: str, since: int) -> Reading:
        if next(numbers) == 2:
            await nothing(await user.post("/api/auth/logout"))
            await user.receive("Not for those who have logged out")
        return await read_now(user_id, since)

    monkeypatch.setattr(feed, "read", read_late)
    await problem(await user.get(PATH, params={"wait": 30}), 401, "unauthorized")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("since", ("-1", "x", "", "1.5", str(2**63), "9" * 50, "9" * 5000, "1_0", "١", " 1", "+1")),
        ("wait", ("-1", "31", "x", "", "nan", "inf", "1e400", "9" * 5000, "1_0", "١", "٠.١", " 1", "1 ", "+1", "1.", "0x1")),
    ],
)
async def test_refuses_what_is_not_valid(user: Person, field: str, values: tuple[str, ...]) -> None:
    for value in values:
        found = await problem(await user.get(PATH, params={field: value}), 422, "invalid")
        assert set(found["errors"]) == {field}, value


async def test_takes_a_wait_as_json_writes_numbers(user: Person) -> None:
    for value in ("0", "0.001", "1e-3", "1E-03", "0e5", "-0", "0.0"):
        await body(await user.get(PATH, params={"wait": value}))


async def test_is_not_stored_by_caches(user: Person) -> None:
    assert (await user.get(PATH)).headers["Cache-Control"] == "no-store"


async def test_needs_a_token(client: TestClient) -> None:
    await problem(await client.get(PATH), 401, "unauthorized")
