"""Changing many items at once."""

from typing import Any
from uuid import uuid4

import pytest

from tests.conftest import MakeUser
from tests.support.people import Person, body, problem

PATH = "/api/feedback/bulk"


async def receive(user: Person, count: int) -> list[str]:
    return [await user.receive(f"No. {number}") for number in range(count)]


async def change(user: Person, ids: list[str], **asked: Any) -> int:
    return int((await body(await user.post(PATH, json={"ids": ids, **asked})))["changed"])


async def test_marks_many_as_read_and_unread(user: Person) -> None:
    ids = await receive(user, 3)
    assert await change(user, ids[:2], is_read=True) == 2
    assert (await user.inbox())["unread_count"] == 1
    assert await change(user, ids, is_read=True) == 1
    assert await change(user, [*ids, str(uuid4())], is_read=False) == 3
    assert (await user.inbox())["unread_count"] == 3


async def test_deletes_many_each_with_its_event(user: Person) -> None:
    ids = await receive(user, 4)
    cursor = (await user.inbox())["cursor"]
    assert await change(user, [ids[0], ids[2], ids[2]], delete=True) == 2
    inbox = await user.inbox()
    assert ([item["id"] for item in inbox["items"]], inbox["total_count"], inbox["unread_count"]) == ([ids[3], ids[1]], 2, 2)
    events = (await user.changes(cursor))["events"]
    assert [(event["event"], event["id"]) for event in events] == [("deleted", ids[0]), ("deleted", ids[2])]
    assert [event["cursor"] for event in events] == [cursor + 1, cursor + 2]
    assert await change(user, ids[:3], delete=True) == 1


async def test_deletes_as_many_as_it_takes(user: Person) -> None:
    ids = await receive(user, 100)
    assert await change(user, ids, delete=True) == 100
    inbox = await user.inbox()
    assert (inbox["items"], inbox["total_count"], inbox["unread_count"]) == ([], 0, 0)


async def test_touches_nothing_of_others(user: Person, make_user: MakeUser) -> None:
    other = await make_user()
    ids = await receive(other, 2)
    assert await change(user, ids, delete=True) == 0
    assert await change(user, ids, is_read=True) == 0
    assert (await other.inbox())["unread_count"] == 2


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"ids": []},
        {"ids": ["x"], "is_read": True},
        {"ids": [str(uuid4())]},
        {"is_read": True},
        {"ids": [str(uuid4())], "is_read": True, "delete": True},
        {"ids": [str(uuid4())], "delete": False},
        {"ids": [str(uuid4())], "delete": 1},
        {"ids": [str(uuid4())], "is_read": "yes"},
        {"ids": [str(uuid4())] * 501, "is_read": True},
        {"ids": [str(uuid4())], "is_read": True, "status": "spam"},
    ],
)
async def test_refuses_what_says_nothing_or_too_much(user: Person, asked: dict[str, Any]) -> None:
    await problem(await user.post(PATH, json=asked), 422, "invalid")
