"""POST /api/widgets/{id}/feedback."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from tests.conftest import MakeUser
from tests.support.people import Person, body, problem

PLAIN = ("button", "inline", "popup")
NUMBERS = {"rating": range(1, 6), "nps": range(11)}
ANYWHERE = "https://anywhere.example"


async def send(
    client: TestClient, widget: dict[str, Any], *, headers: dict[str, str] | None = None, **asked: Any
) -> ClientResponse:
    return await client.post(f"/api/widgets/{widget['id']}/feedback", json=asked, headers=headers or {})


async def received(owner: Person) -> dict[str, Any]:
    """Return the only item of the inbox."""
    (item,) = (await owner.inbox())["items"]
    return dict(item)


async def refused(response: ClientResponse, *fields: str) -> None:
    found = await problem(response, 422, "invalid")
    assert found["errors"].keys() == set(fields)


# What is sent


@pytest.mark.parametrize("kind", PLAIN)
async def test_takes_a_message(client: TestClient, user: Person, kind: str) -> None:
    widget = await user.make_widget(type=kind)
    answer = await body(await send(client, widget, message="  Well done! 🎉 "), 201)
    assert answer.keys() == {"id", "created_at"}
    assert datetime.fromisoformat(answer["created_at"]).tzinfo
    item = await received(user)
    assert (item["id"], item["created_at"]) == (answer["id"], answer["created_at"])
    assert (item["message"], item["metadata"], item["widget_id"]) == ("Well done! 🎉", None, widget["id"])
    assert (item["user_id"], item["is_read"]) == (user.id, False)


@pytest.mark.parametrize("kind", PLAIN)
async def test_needs_a_message_where_no_rating_is_asked_for(client: TestClient, user: Person, kind: str) -> None:
    widget = await user.make_widget(type=kind)
    for asked in ({}, {"message": ""}, {"message": " \n"}, {"message": None}, {"rating": 3}):
        await refused(await send(client, widget, **asked), "message")
    assert (await user.inbox())["total_count"] == 0


async def test_takes_a_rating_with_a_message_where_none_is_asked_for(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    await body(await send(client, widget, message="Fine", rating=0, metadata={"page": "/"}), 201)
    assert (await received(user))["metadata"] == {"page": "/", "rating": 0}
    for rating in (-1, 11):
        await refused(await send(client, widget, message="Fine", rating=rating), "rating")


@pytest.mark.parametrize("kind", NUMBERS)
async def test_takes_every_rating_of_its_range(client: TestClient, user: Person, kind: str) -> None:
    widget = await user.make_widget(type=kind)
    for rating in NUMBERS[kind]:
        await body(await send(client, widget, rating=rating), 201)
    items = (await user.inbox(order="oldest"))["items"]
    assert [item["metadata"] for item in items] == [{"rating": rating} for rating in NUMBERS[kind]]
    assert {item["message"] for item in items} == {""}


@pytest.mark.parametrize("kind", NUMBERS)
async def test_refuses_what_is_no_rating_of_its_range(client: TestClient, user: Person, kind: str) -> None:
    widget = await user.make_widget(type=kind)
    outside = (NUMBERS[kind][0] - 1, NUMBERS[kind][-1] + 1, -(2**63), 10**400)
    for rating in (*outside, True, False, "3", "", 3.5, 1e300, [3], {}):
        await refused(await send(client, widget, rating=rating, message="Hm"), "rating")
    assert (await user.inbox())["total_count"] == 0


async def test_a_rating_may_be_spelled_with_a_point(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(type="nps")
    response = await client.post(
        f"/api/widgets/{widget['id']}/feedback", data=b'{"rating": 9.0}', headers={"Content-Type": "application/json"}
    )
    await body(response, 201)
    assert '"rating":9}' in await (await user.get("/api/feedback")).text()


@pytest.mark.parametrize("kind", NUMBERS)
async def test_needs_a_rating_where_it_asks_for_one(client: TestClient, user: Person, kind: str) -> None:
    widget = await user.make_widget(type=kind)
    for asked in ({}, {"message": "Fine"}, {"rating": None, "message": "Fine"}, {"metadata": {"rating": 3}}):
        await refused(await send(client, widget, **asked), "rating")


@pytest.mark.parametrize("kind", NUMBERS)
async def test_takes_a_message_beside_the_rating(client: TestClient, user: Person, kind: str) -> None:
    await body(await send(client, await user.make_widget(type=kind), rating=3, message=" So so "), 201)
    assert (await received(user))["message"] == "So so"


@pytest.mark.parametrize("message", ["", "  ", None])
async def test_takes_an_empty_message_beside_the_rating(client: TestClient, user: Person, message: str | None) -> None:
    await body(await send(client, await user.make_widget(type="rating"), rating=3, message=message), 201)
    assert (await received(user))["message"] == ""


@pytest.mark.parametrize("kind", [*PLAIN, *NUMBERS])
async def test_takes_a_rating_twice_if_it_is_the_same(client: TestClient, user: Person, kind: str) -> None:
    widget = await user.make_widget(type=kind)
    await body(await send(client, widget, message="Hm", rating=4, metadata={"rating": 4.0, "page": "/pricing"}), 201)
    assert (await received(user))["metadata"] == {"rating": 4, "page": "/pricing"}


@pytest.mark.parametrize("kind", [*PLAIN, *NUMBERS])
async def test_refuses_two_ratings(client: TestClient, user: Person, kind: str) -> None:
    widget = await user.make_widget(type=kind)
    for other in (3, 0, 4.5, 10):
        response = await send(client, widget, message="Hm", rating=4, metadata={"rating": other})
        found = await problem(response, 422, "invalid")
        assert found["errors"] == {"metadata": {"rating": ["Must be the same as 'rating'."]}}
    assert (await user.inbox())["total_count"] == 0


@pytest.mark.parametrize("kind", PLAIN)
async def test_a_rating_in_the_metadata_has_bounds(client: TestClient, user: Person, kind: str) -> None:
    widget = await user.make_widget(type=kind)
    for rating in (1e300, -1e300, 10.5, 11, -0.5, 2**64):
        response = await send(client, widget, message="Hm", metadata={"rating": rating})
        found = await problem(response, 422, "invalid")
        assert found["errors"] == {"metadata": {"rating": ["Must be from 0 to 10."]}}, rating
    for rating in (0, 10, 4.5):
        await body(await send(client, widget, message="Hm", metadata={"rating": rating}), 201)


@pytest.mark.parametrize("kind", [*PLAIN, *NUMBERS])
async def test_takes_4_kib_of_metadata_with_the_rating_in_it(client: TestClient, user: Person, kind: str) -> None:
    widget = await user.make_widget(type=kind)
    room = 4096 - len(b'{"a":"","rating":4}')
    await body(await send(client, widget, message="Hm", rating=4, metadata={"a": "x" * room}), 201)
    assert (await received(user))["metadata"] == {"a": "x" * room, "rating": 4}
    for longer in (room + 1, 4096 - len(b'{"a":""}')):
        await refused(await send(client, widget, message="Hm", rating=4, metadata={"a": "x" * longer}), "metadata")
    assert (await user.inbox())["total_count"] == 1


async def test_takes_the_longest_message_and_none_longer(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    await body(await send(client, widget, message="ß" * 5000), 201)
    assert (await received(user))["message"] == "ß" * 5000
    await refused(await send(client, widget, message="ß" * 5001), "message")


async def test_refuses_what_it_does_not_know(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    await refused(await send(client, widget, message="Hi", username="me", widget_id=widget["id"]), "username", "widget_id")


@pytest.mark.parametrize("kind", [*PLAIN, *NUMBERS])
async def test_refuses_text_that_cannot_be_stored(client: TestClient, user: Person, kind: str) -> None:
    widget = await user.make_widget(type=kind)
    for text in ("a\0b", "\ud800", 1, ["Hi"], True):
        await refused(await send(client, widget, message=text, rating=3), "message")
    for metadata in ({"a": "\0"}, {"\udfff": 1}, [], "x", {"a": "x" * 4096}, {"rating": "5"}):
        await refused(await send(client, widget, message="Hi", rating=3, metadata=metadata), "metadata")


async def test_refuses_a_body_that_is_no_object(client: TestClient, user: Person) -> None:
    path = f"/api/widgets/{(await user.make_widget())['id']}/feedback"
    for raw in (b"", b"[]", b"{", b'{"message": NaN}', b"\xff"):
        await problem(await client.post(path, data=raw, headers={"Content-Type": "application/json"}), 400, "malformed-json")
    for media in ("text/plain", "text/html", "multipart/form-data", "application/json; charset=latin-1"):
        response = await client.post(path, data=b'{"message": "Hi"}', headers={"Content-Type": media})
        await problem(response, 415, "unsupported-media-type")
    await problem(await client.post(path, json={"message": "x" * 70000}), 413, "too-large")


# Where it goes


async def test_finds_no_widget_that_is_unknown_or_inactive(client: TestClient, user: Person) -> None:
    inactive = await user.make_widget(is_active=False)
    hidden = await problem(await send(client, inactive, message="Hi"), 404, "not-found")
    for wrong in (uuid4(), "corner", "%00"):
        found = await problem(await send(client, {"id": wrong}, message="Hi"), 404, "not-found")
        assert found["detail"] == hidden["detail"]
    assert (await user.inbox())["total_count"] == 0


async def test_is_seen_by_readers_of_the_inbox(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(type="nps")
    answer = await body(await send(client, widget, rating=9), 201)
    changes = await user.changes(0, wait=10)
    assert [(event["event"], event["feedback"]["id"]) for event in changes["events"]] == [("created", answer["id"])]
    assert changes["events"][0]["feedback"] == await received(user)


async def test_can_be_told_from_what_came_another_way(client: TestClient, user: Person) -> None:
    first, second = await user.make_widget(), await user.make_widget()
    await user.receive("By name")
    for widget in (first, second):
        await body(await send(client, widget, message="By widget"), 201)
    (item,) = (await user.inbox(widget_id=second["id"]))["items"]
    assert item["widget_id"] == second["id"]
    assert (await user.inbox())["items"][-1]["widget_id"] is None


# Twice


async def test_stores_a_repeat_once(client: TestClient, user: Person) -> None:
    widget, key = await user.make_widget(type="rating"), {"Idempotency-Key": uuid4().hex}
    responses = await asyncio.gather(*(send(client, widget, rating=5, headers=key) for _ in range(10)))
    answers = [await body(response, 201) for response in responses]
    assert len({answer["id"] for answer in answers}) == 1
    assert (await received(user))["id"] == answers[0]["id"]


async def test_takes_a_repeat_for_the_same_however_it_is_written(client: TestClient, user: Person) -> None:
    widget, key = await user.make_widget(type="rating"), {"Idempotency-Key": uuid4().hex}
    first = await body(await send(client, widget, rating=5, message="Fine", headers=key), 201)
    second = await body(await send(client, widget, message=" Fine ", rating=5, headers=key), 201)
    assert first == second


async def test_refuses_a_repeat_that_says_something_else(client: TestClient, user: Person) -> None:
    widget, key = await user.make_widget(type="rating"), {"Idempotency-Key": uuid4().hex}
    await body(await send(client, widget, rating=5, headers=key), 201)
    for other in ({"rating": 4}, {"rating": 5, "message": "But"}, {"rating": 5, "metadata": {"page": "/"}}):
        await problem(await send(client, widget, headers=key, **other), 409, "idempotency-mismatch")
    other_widget = await user.make_widget(type="rating")
    await problem(await send(client, other_widget, rating=5, headers=key), 409, "idempotency-mismatch")
    assert (await user.inbox())["total_count"] == 1


async def test_keeps_the_keys_of_inboxes_apart(client: TestClient, user: Person, make_user: MakeUser) -> None:
    other, key = await make_user(), {"Idempotency-Key": uuid4().hex}
    mine = await body(await send(client, await user.make_widget(), message="Hi", headers=key), 201)
    theirs = await body(await send(client, await other.make_widget(), message="Hi", headers=key), 201)
    assert ((await received(user))["id"], (await received(other))["id"]) == (mine["id"], theirs["id"])


async def test_refuses_a_key_that_is_too_long(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    await body(await send(client, widget, message="Hi", headers={"Idempotency-Key": "x" * 255}), 201)
    await refused(await send(client, widget, message="Hi", headers={"Idempotency-Key": "x" * 256}), "Idempotency-Key")


# From which pages


@pytest.mark.parametrize("origin", [ANYWHERE, "null", "chrome-extension://abc", None])
async def test_takes_it_from_anywhere_where_no_origins_are_named(client: TestClient, user: Person, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    for settings in ({}, {"allowed_origins": []}):
        widget = await user.make_widget(settings=settings)
        response = await send(client, widget, message="Hi", headers=headers)
        await body(response, 201)
        assert response.headers.get("Access-Control-Allow-Origin") == origin


async def test_takes_it_from_the_origins_that_are_named(client: TestClient, user: Person) -> None:
    allowed = ["https://example.com", "http://localhost:3000", "https://Shop.Example:443"]
    widget = await user.make_widget(settings={"allowed_origins": allowed})
    for origin in ("https://example.com", "http://localhost:3000", "https://shop.example"):
        response = await send(client, widget, message="Hi", headers={"Origin": origin})
        await body(response, 201)
        assert response.headers["Access-Control-Allow-Origin"] == origin


@pytest.mark.parametrize(
    "origin",
    [
        *("https://evil.example", "null", "http://example.com", "https://example.com:8443", "https://www.example.com"),
        *("https://example.com.evil.example", "https://example.co", "https://example.com/", ""),
    ],
)
async def test_refuses_it_from_other_origins(client: TestClient, user: Person, origin: str) -> None:
    widget = await user.make_widget(settings={"allowed_origins": ["https://example.com"]})
    await problem(await send(client, widget, message="Hi", headers={"Origin": origin}), 403, "origin-not-allowed")
    assert (await user.inbox())["total_count"] == 0


async def test_takes_it_from_what_is_no_browser(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(settings={"allowed_origins": ["https://example.com"]})
    await body(await send(client, widget, message="Hi"), 201)


async def test_lets_every_page_read_why_it_was_refused(client: TestClient, user: Person) -> None:
    open_one = await user.make_widget()
    closed = await user.make_widget(settings={"allowed_origins": ["https://example.com"]})
    path = f"/api/widgets/{open_one['id']}/feedback"
    origin = {"Origin": ANYWHERE}
    for response, status, slug in (
        (await client.post(path, data=b"{", headers={**origin, "Content-Type": "application/json"}), 400, "malformed-json"),
        (await send(client, closed, message="Hi", headers=origin), 403, "origin-not-allowed"),
        (await send(client, {"id": uuid4()}, message="Hi", headers=origin), 404, "not-found"),
        (await client.post(path, json={"message": "x" * 70000}, headers=origin), 413, "too-large"),
        (await client.post(path, data=b"Hi", headers={**origin, "Content-Type": "text/plain"}), 415, "unsupported-media-type"),
        (await send(client, open_one, headers=origin), 422, "invalid"),
    ):
        await problem(response, status, slug)
        assert response.headers["Access-Control-Allow-Origin"] == ANYWHERE
        assert "Access-Control-Allow-Credentials" not in response.headers
        assert response.headers["Vary"] == "Origin"
