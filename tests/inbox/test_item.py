"""GET and DELETE /api/feedback/{id}, PATCH /api/feedback/{id}/read."""

from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from tests.conftest import MakeUser
from tests.support.people import Person, body, nothing, problem

NO_IDS = [
    "nobody",
    "0",
    "1234",
    "%00",
    "x" * 36,
    "0190a0a0-0000-7000-8000-00000000000",
    "{0190a0a0-0000-7000-8000-000000000000}",
]


async def mark(person: Person, feedback_id: str, **options: Any) -> dict[str, Any]:
    return dict(await body(await person.patch(f"/api/feedback/{feedback_id}/read", **options)))


async def counts(person: Person) -> tuple[int, int, int]:
    """Return how many are unread, how many there are, and the cursor."""
    inbox = await person.inbox()
    return inbox["unread_count"], inbox["total_count"], inbox["cursor"]


async def test_shows_an_item(user: Person) -> None:
    feedback_id = await user.receive("Hello", metadata={"page": "/"})
    response = await user.get(f"/api/feedback/{feedback_id}")
    item = await body(response)
    assert item == (await user.inbox())["items"][0]
    assert (item["id"], item["message"], item["metadata"]) == (feedback_id, "Hello", {"page": "/"})
    assert response.headers["Cache-Control"] == "no-store"


async def test_shows_an_item_by_its_id_in_upper_case(user: Person) -> None:
    feedback_id = await user.receive()
    assert (await body(await user.get(f"/api/feedback/{feedback_id.upper()}")))["id"] == feedback_id


async def test_answers_head_without_a_body(user: Person) -> None:
    await nothing(await user.call("HEAD", f"/api/feedback/{await user.receive()}"), 200)


async def test_deletes_an_item(user: Person) -> None:
    gone, kept = await user.receive(), await user.receive()
    await nothing(await user.delete(f"/api/feedback/{gone}"))
    assert [item["id"] for item in (await user.inbox())["items"]] == [kept]
    assert await counts(user) == (1, 1, 3)


async def test_deletes_a_read_item(user: Person) -> None:
    feedback_id = await user.receive()
    await mark(user, feedback_id)
    await nothing(await user.delete(f"/api/feedback/{feedback_id}"))
    assert await counts(user) == (0, 0, 3)


async def test_finds_nothing_of_a_deleted_item(user: Person) -> None:
    feedback_id = await user.receive()
    await nothing(await user.delete(f"/api/feedback/{feedback_id}"))
    await problem(await user.get(f"/api/feedback/{feedback_id}"), 404, "not-found")
    await problem(await user.patch(f"/api/feedback/{feedback_id}/read"), 404, "not-found")
    await problem(await user.delete(f"/api/feedback/{feedback_id}"), 404, "not-found")
    assert await counts(user) == (0, 0, 2)


async def test_leaves_no_text_of_a_deleted_item_in_the_database(user: Person, sql: asyncpg.Connection) -> None:
    secret = f"secret-{uuid4().hex}"
    feedback_id = await user.receive(secret, metadata={"name": secret})
    await nothing(await user.delete(f"/api/feedback/{feedback_id}"))
    left = await sql.fetchrow("SELECT f::text AS row, f.* FROM feedback AS f WHERE id = $1::text::uuid", feedback_id)
    assert secret not in left["row"]
    assert (left["message"], left["metadata"], left["ip_address"]) == ("", None, None)


async def test_marks_read_by_default(user: Person) -> None:
    feedback_id = await user.receive()
    item = await mark(user, feedback_id)
    assert item == (await user.inbox())["items"][0]
    assert (item["is_read"], item["cursor"]) == (True, 2)
    assert await counts(user) == (0, 1, 2)


@pytest.mark.parametrize(
    "options",
    [{"json": {}}, {"json": {"is_read": True}}, {"data": b"", "headers": {"Content-Type": "application/json"}}],
    ids=["empty object", "said", "empty body"],
)
async def test_marks_read(user: Person, options: dict[str, Any]) -> None:
    assert (await mark(user, await user.receive(), **options))["is_read"] is True


async def test_marks_unread(user: Person) -> None:
    feedback_id = await user.receive()
    await mark(user, feedback_id)
    item = await mark(user, feedback_id, json={"is_read": False})
    assert (item["is_read"], item["cursor"]) == (False, 3)
    assert await counts(user) == (1, 1, 3)


@pytest.mark.parametrize("is_read", [True, False])
async def test_takes_no_number_where_nothing_changes(user: Person, is_read: bool) -> None:
    feedback_id = await user.receive()
    first = await mark(user, feedback_id, json={"is_read": is_read})
    before = await counts(user)
    assert await mark(user, feedback_id, json={"is_read": is_read}) == first
    assert await counts(user) == before


async def test_changes_nothing_else_of_an_item(user: Person) -> None:
    feedback_id = await user.receive("Hello", metadata={"n": 12345678901234567890})
    before = await body(await user.get(f"/api/feedback/{feedback_id}"))
    assert await mark(user, feedback_id) == {**before, "is_read": True, "cursor": 2}


@pytest.mark.parametrize(
    "fields", [{"is_read": None}, {"is_read": "true"}, {"is_read": 1}, {"read": True}, {"is_read": True, "x": 1}]
)
async def test_refuses_a_bad_body(user: Person, fields: dict[str, Any]) -> None:
    feedback_id = await user.receive()
    await problem(await user.patch(f"/api/feedback/{feedback_id}/read", json=fields), 422, "invalid")
    assert await counts(user) == (1, 1, 1)


async def test_refuses_a_body_that_is_no_json(user: Person) -> None:
    path = f"/api/feedback/{await user.receive()}/read"
    headers = {"Content-Type": "application/json"}
    await problem(await user.patch(path, data=b"[]", headers=headers), 400, "malformed-json")
    await problem(await user.patch(path, data=b"{}", headers={"Content-Type": "text/plain"}), 415, "unsupported-media-type")


async def test_keeps_the_items_of_others_to_them(user: Person, make_user: MakeUser) -> None:
    feedback_id, stranger = await user.receive(), await make_user()
    await problem(await stranger.get(f"/api/feedback/{feedback_id}"), 404, "not-found")
    await problem(await stranger.patch(f"/api/feedback/{feedback_id}/read"), 404, "not-found")
    await problem(await stranger.delete(f"/api/feedback/{feedback_id}"), 404, "not-found")
    assert (await body(await user.get(f"/api/feedback/{feedback_id}")))["is_read"] is False
    assert await counts(user) == (1, 1, 1)
    assert await counts(stranger) == (0, 0, 0)


async def test_answers_for_the_items_of_others_as_for_none(user: Person, make_user: MakeUser) -> None:
    stranger, theirs, nobodys = await make_user(), await user.receive(), str(uuid4())
    for method, end in (("GET", ""), ("PATCH", "/read"), ("DELETE", "")):
        answers = [
            await problem(await stranger.call(method, f"/api/feedback/{found}{end}"), 404, "not-found")
            for found in (theirs, nobodys)
        ]
        assert answers[0] | {"request_id": ""} == answers[1] | {"request_id": ""}


async def test_finds_nothing_under_what_is_no_id(user: Person) -> None:
    for text in NO_IDS:
        await problem(await user.get(f"/api/feedback/{text}"), 404, "not-found")
        await problem(await user.patch(f"/api/feedback/{text}/read"), 404, "not-found")
        await problem(await user.delete(f"/api/feedback/{text}"), 404, "not-found")


async def test_needs_a_token(user: Person, client: TestClient) -> None:
    path = f"/api/feedback/{await user.receive()}"
    await problem(await client.get(path), 401, "unauthorized")
    await problem(await client.patch(f"{path}/read"), 401, "unauthorized")
    await problem(await client.delete(path), 401, "unauthorized")
