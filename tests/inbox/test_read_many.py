"""POST /api/feedback/read."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient

from tests.conftest import MakeUser
from tests.support.people import Person, body, nothing, problem


async def mark(person: Person, **wanted: Any) -> int:
    """Mark items as read, and return how many changed."""
    answer = await body(await person.post("/api/feedback/read", json=wanted))
    assert set(answer) == {"changed"}
    return int(answer["changed"])


async def unread(person: Person) -> list[str]:
    inbox = await person.inbox(is_read="false", limit=100)
    assert inbox["unread_count"] == len(inbox["items"])
    return [item["id"] for item in inbox["items"]]


async def test_marks_by_ids(user: Person) -> None:
    one, two, three = [await user.receive() for _ in range(3)]
    assert await mark(user, ids=[one, three]) == 2
    assert await unread(user) == [two]
    assert (await user.inbox())["cursor"] == 5


async def test_counts_what_changed_alone(user: Person) -> None:
    one, two = await user.receive(), await user.receive()
    assert await mark(user, ids=[one]) == 1
    assert await mark(user, ids=[one, two]) == 1
    assert await mark(user, ids=[one, two]) == 0
    assert (await user.inbox())["cursor"] == 4


async def test_counts_a_duplicate_once(user: Person) -> None:
    feedback_id = await user.receive()
    assert await mark(user, ids=[feedback_id, feedback_id, feedback_id.upper()]) == 1
    assert (await user.inbox())["cursor"] == 2


async def test_ignores_the_items_of_others_and_unknown_ones(user: Person, make_user: MakeUser) -> None:
    other = await make_user()
    mine, theirs = await user.receive(), await other.receive()
    assert await mark(user, ids=[theirs, mine, str(uuid4())]) == 1
    assert await unread(other) == [theirs]
    assert (await other.inbox())["cursor"] == 1


async def test_ignores_deleted_items(user: Person) -> None:
    feedback_id = await user.receive()
    await nothing(await user.delete(f"/api/feedback/{feedback_id}"))
    assert await mark(user, ids=[feedback_id]) == 0
    assert await mark(user, up_to=100) == 0
    assert (await user.inbox())["cursor"] == 2


async def test_takes_500_ids(user: Person) -> None:
    feedback_id = await user.receive()
    assert await mark(user, ids=[*(str(uuid4()) for _ in range(499)), feedback_id]) == 1


async def test_marks_what_arrived_up_to_a_cursor(user: Person) -> None:
    await user.receive()
    await user.receive()
    seen = (await user.inbox())["cursor"]
    newer = await user.receive()
    assert await mark(user, up_to=seen) == 2
    assert await unread(user) == [newer]


async def test_goes_by_when_an_item_arrived_not_when_it_changed(user: Person) -> None:
    first = await user.receive()
    seen = (await user.inbox())["cursor"]
    await user.patch(f"/api/feedback/{first}/read")
    await user.patch(f"/api/feedback/{first}/read", json={"is_read": False})
    assert await mark(user, up_to=seen) == 1


@pytest.mark.parametrize("up_to", [2, 3, 2**63 - 1])
async def test_marks_all_up_to_a_cursor_at_or_past_the_end(user: Person, up_to: int) -> None:
    await user.receive()
    await user.receive()
    assert await mark(user, up_to=up_to) == 2
    assert await mark(user, up_to=up_to) == 0
    assert (await user.inbox())["cursor"] == 4


async def test_marks_nothing_up_to_the_beginning(user: Person) -> None:
    feedback_id = await user.receive()
    assert await mark(user, up_to=0) == 0
    assert await unread(user) == [feedback_id]


async def test_leaves_the_inboxes_of_others_alone_up_to_a_cursor(user: Person, make_user: MakeUser) -> None:
    other = await make_user()
    theirs = await other.receive()
    await user.receive()
    assert await mark(user, up_to=100) == 1
    assert await unread(other) == [theirs]


async def test_gives_each_item_a_number_in_the_order_of_arrival(user: Person) -> None:
    ids = [await user.receive() for _ in range(4)]
    await mark(user, ids=ids[::-1])
    items = (await user.inbox(order="oldest"))["items"]
    assert [(item["id"], item["cursor"]) for item in items] == list(zip(ids, range(5, 9), strict=True))


@pytest.mark.parametrize(("at_once", "count"), [(1, 3), (3, 10), (5, 10), (10, 10), (11, 10)])
async def test_marks_in_several_steps(user: Person, monkeypatch: pytest.MonkeyPatch, at_once: int, count: int) -> None:
    monkeypatch.setattr("fw.inbox.bulk.MARK_AT_ONCE", at_once)
    await asyncio.gather(*(user.receive() for _ in range(count)))
    newer_than = (await user.inbox())["cursor"]
    newer = await user.receive()
    assert await mark(user, up_to=newer_than) == count
    assert await unread(user) == [newer]
    assert (await user.inbox())["cursor"] == 2 * count + 1


NOT_VALID: list[tuple[dict[str, Any], str]] = [
    ({}, "_schema"),
    ({"ids": ["0190a0a0-0000-7000-8000-000000000000"], "up_to": 1}, "_schema"),
    ({"ids": []}, "ids"),
    ({"ids": None}, "ids"),
    ({"ids": "0190a0a0-0000-7000-8000-000000000000"}, "ids"),
    ({"ids": ["no id"]}, "ids"),
    ({"ids": [None]}, "ids"),
    ({"ids": [5]}, "ids"),
    ({"ids": ["0190a0a0-0000-7000-8000-000000000000"] * 501}, "ids"),
    ({"up_to": -1}, "up_to"),
    ({"up_to": None}, "up_to"),
    ({"up_to": "1"}, "up_to"),
    ({"up_to": 1.5}, "up_to"),
    ({"up_to": 1e300}, "up_to"),
    ({"up_to": True}, "up_to"),
    ({"up_to": 2**63}, "up_to"),
    ({"up_to": 1, "is_read": False}, "is_read"),
]


async def test_refuses_what_is_not_valid(user: Person) -> None:
    feedback_id = await user.receive()
    for wanted, field in NOT_VALID:
        found = await problem(await user.post("/api/feedback/read", json=wanted), 422, "invalid")
        assert set(found["errors"]) == {field}, wanted
    assert await unread(user) == [feedback_id]


async def test_names_the_bad_id_by_its_place(user: Person) -> None:
    wanted = {"ids": [str(uuid4()), "no id"]}
    found = await problem(await user.post("/api/feedback/read", json=wanted), 422, "invalid")
    assert found["errors"] == {"ids": {"1": ["Must be a UUID."]}}


async def test_needs_a_body(user: Person) -> None:
    response = await user.post("/api/feedback/read", headers={"Content-Type": "application/json"})
    await problem(response, 400, "malformed-json")


async def test_needs_a_token(client: TestClient) -> None:
    await problem(await client.post("/api/feedback/read", json={"up_to": 1}), 401, "unauthorized")
