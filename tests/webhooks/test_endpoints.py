"""Making, showing, changing and deleting webhooks."""

import asyncio
import base64
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from tests.conftest import MakeClient, MakeUser
from tests.support.people import Person, body, make_person, nothing, problem
from tests.support.receiver import Receiver, attempted, make_webhook

URL = "https://example.com/hooks"
EVENTS = ["feedback.created", "feedback.updated", "feedback.deleted"]


async def watch(sql: asyncpg.Connection, user: Person) -> int:
    return int(await sql.fetchval("SELECT watch FROM inboxes WHERE user_id = $1", user.id))


async def test_makes_one_with_a_secret_that_is_shown_once(user: Person) -> None:
    response = await user.post("/api/webhooks", json={"url": URL})
    made = await body(response, 201)
    assert response.headers["Location"] == f"/api/webhooks/{made['id']}"
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert made == {
        "id": made["id"],
        "url": URL,
        "events": ["feedback.created"],
        "description": None,
        "is_active": True,
        "created_at": made["created_at"],
        "failing_since": None,
        "disabled_reason": None,
    }
    assert await body(await user.get(f"/api/webhooks/{made['id']}")) == made
    assert await body(await user.get("/api/webhooks")) == {"items": [made], "next": None}


async def test_events_are_kept_each_once(user: Person) -> None:
    made = await make_webhook(user, URL, "feedback.deleted", "feedback.created", "feedback.deleted")
    assert made["events"] == ["feedback.created", "feedback.deleted"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("events", value) for value in ([], ["feedback.read"], "feedback.created", [1], None, EVENTS * 2)),
        *(("description", value) for value in ("x" * 201, 1, "a\0b")),
        *(("url", value) for value in (None, 1, "", [URL])),
        *(("secret", value) for value in ("whsec_mine",)),
        *(("is_active", value) for value in (True,)),
    ],
)
async def test_refuses_what_is_not_valid(user: Person, field: str, value: Any) -> None:
    found = await problem(await user.post("/api/webhooks", json={"url": URL, field: value}), 422, "invalid")
    assert found["errors"].keys() == {field}
    assert (await body(await user.get("/api/webhooks")))["items"] == []


async def test_an_account_has_five(user: Person, sql: asyncpg.Connection) -> None:
    responses = await asyncio.gather(*(user.post("/api/webhooks", json={"url": URL}) for _ in range(8)))
    assert sorted(response.status for response in responses) == [201] * 5 + [422] * 3
    (first, *_) = (await body(await user.get("/api/webhooks")))["items"]
    await nothing(await user.delete(f"/api/webhooks/{first['id']}"))
    await make_webhook(user, URL)
    found = await problem(await user.post("/api/webhooks", json={"url": URL}), 422, "invalid")
    assert "5" in found["errors"]["_schema"][0]


async def test_lists_newest_first_a_page_at_a_time(user: Person) -> None:
    made = [await make_webhook(user, f"{URL}/{number}") for number in range(3)]
    for each in made:
        del each["secret"]
    first = await body(await user.get("/api/webhooks", params={"limit": 2}))
    assert first["items"] == [made[2], made[1]]
    second = await body(await user.get("/api/webhooks", params={"limit": 2, "after": first["next"]}))
    assert second == {"items": [made[0]], "next": None}


async def test_changes_what_is_given_and_leaves_the_rest(user: Person, sql: asyncpg.Connection) -> None:
    made = await make_webhook(user, URL, "feedback.created", description="Our chat")
    del made["secret"]
    for change in (
        *({"url": "https://example.org/"}, {"events": EVENTS}, {"description": "Theirs"}, {"description": None}),
        *({"is_active": False}, {"is_active": True}),
    ):
        made |= change
        assert await body(await user.put(f"/api/webhooks/{made['id']}", json=change)) == made
    await problem(await user.put(f"/api/webhooks/{made['id']}", json={}), 422, "invalid")
    await problem(await user.put(f"/api/webhooks/{made['id']}", json={"url": "https://127.0.0.1:0/"}), 422, "invalid")
    assert await body(await user.get(f"/api/webhooks/{made['id']}")) == made


async def test_an_inbox_knows_what_is_watched(user: Person, sql: asyncpg.Connection) -> None:
    assert await watch(sql, user) == 0
    one = await make_webhook(user, URL, "feedback.created")
    assert await watch(sql, user) == 1
    other = await make_webhook(user, URL, "feedback.deleted")
    assert await watch(sql, user) == 5
    await body(await user.put(f"/api/webhooks/{one['id']}", json={"events": ["feedback.updated"]}))
    assert await watch(sql, user) == 6
    await body(await user.put(f"/api/webhooks/{one['id']}", json={"is_active": False}))
    assert await watch(sql, user) == 4
    await nothing(await user.delete(f"/api/webhooks/{other['id']}"))
    assert await watch(sql, user) == 0


async def test_is_its_owners_alone(user: Person, make_user: MakeUser) -> None:
    made, other = await make_webhook(user, URL), await make_user()
    for webhook_id in (made["id"], str(uuid4()), "x"):
        path = f"/api/webhooks/{webhook_id}"
        for response in (
            await other.get(path),
            await other.put(path, json={"is_active": False}),
            await other.delete(path),
            await other.post(f"{path}/secret"),
            await other.post(f"{path}/test"),
            await other.get(f"{path}/deliveries"),
            await other.post(f"{path}/resend", json={"since": "2026-01-01"}),
        ):
            await problem(response, 404, "not-found")
    assert (await body(await other.get("/api/webhooks")))["items"] == []
    assert (await body(await user.get(f"/api/webhooks/{made['id']}")))["is_active"]


async def test_nobody_else_sees_them(client: TestClient) -> None:
    await problem(await client.get("/api/webhooks"), 401, "unauthorized")
    await problem(await client.post("/api/webhooks", json={"url": URL}), 401, "unauthorized")


async def test_what_waits_goes_with_a_webhook(user: Person, receiver: Receiver, sql: asyncpg.Connection) -> None:
    receiver.answer = lambda got: web.Response(status=500)
    made = await make_webhook(user, receiver.url)
    await user.receive()
    await attempted(user, made)
    await nothing(await user.delete(f"/api/webhooks/{made['id']}"))
    await problem(await user.delete(f"/api/webhooks/{made['id']}"), 404, "not-found")
    for table in ("jobs", "lanes"):
        counted = f"SELECT count(*) FROM {table} WHERE user_id = $1 AND kind = 'webhook'"
        assert await sql.fetchval(counted, user.id) == 0, table
    for table in ("deliveries", "webhooks"):
        assert await sql.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", user.id) == 0, table


async def test_what_waits_goes_with_the_account(user: Person, receiver: Receiver, sql: asyncpg.Connection) -> None:
    receiver.answer = lambda got: web.Response(status=500)
    made = await make_webhook(user, receiver.url)
    await user.receive()
    await attempted(user, made)
    await nothing(await user.delete("/api/users/profile", json={"current_password": user.password}))
    for table in ("jobs", "lanes", "deliveries", "webhooks"):
        assert await sql.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", user.id) == 0, table


async def test_turning_it_off_takes_back_what_waits(user: Person, receiver: Receiver, sql: asyncpg.Connection) -> None:
    receiver.answer = lambda got: web.Response(status=500)
    made = await make_webhook(user, receiver.url)
    await user.receive()
    await attempted(user, made)
    off = await body(await user.put(f"/api/webhooks/{made['id']}", json={"is_active": False}))
    assert (off["is_active"], off["disabled_reason"]) == (False, None)
    assert await sql.fetchval("SELECT count(*) FROM jobs WHERE user_id = $1 AND kind = 'webhook'", user.id) == 0
    found = await attempted(user, made)
    assert (found["next_attempt_at"], found["error"]) == (None, "the answer was 500")


async def test_of_much_that_was_not_tried_the_last_thousand_stay_in_the_list(user: Person, sql: asyncpg.Connection) -> None:
    webhook = await make_webhook(user, URL)
    async with sql.transaction():
        # Nobody works on them before the end of the transaction, and then it is paused.
        ids = [row["id"] for row in await sql.fetch("SELECT id_new() AS id FROM generate_series(1, 1100)")]
        await sql.execute(
            "INSERT INTO deliveries (user_id, webhook_id, id, type, next_attempt_at)"
            " SELECT $1, $2, u.id, 'ping', now() FROM unnest($3::uuid[]) AS u (id)",
            *(user.id, webhook["id"], ids),
        )
        await sql.execute(
            "SELECT jobs_add($1, 'webhook', $2, $3, array_fill('{}'::json, ARRAY[1100]), array_fill(0::bigint, ARRAY[1100]))",
            *(user.id, webhook["id"], ids),
        )
        await sql.execute("UPDATE lanes SET due = now() + interval '1 hour' WHERE user_id = $1", user.id)
    await body(await user.put(f"/api/webhooks/{webhook['id']}", json={"is_active": False}))
    left = await sql.fetch("SELECT id, error FROM deliveries WHERE user_id = $1 ORDER BY id", user.id)
    assert [row["id"] for row in left] == sorted(ids)[100:]
    assert {row["error"] for row in left} == {"the webhook was turned off"}
    # There may be the mail of the registration.
    assert await sql.fetchval("SELECT count(*) FROM jobs WHERE user_id = $1 AND kind = 'webhook'", user.id) == 0


async def test_an_account_does_so_much_to_its_webhooks_in_an_hour(make_client: MakeClient, make_user: MakeUser) -> None:
    user = await make_user(client=await make_client(rate_limits={"webhook": (3, 3600)}, webhook_allow_private=True))
    webhook = await make_webhook(user, URL)
    path = f"/api/webhooks/{webhook['id']}"
    await nothing(await user.post(f"{path}/test"), 202)
    await body(await user.put(path, json={"is_active": False}))
    for call in (user.put(path, json={"is_active": True}), user.post(f"{path}/test"), user.post(f"{path}/secret")):
        await problem(await call, 429, "too-many-requests")
    # It can always be ended.
    await nothing(await user.delete(path))


async def test_http_and_private_addresses_are_for_servers_that_allow_them(make_client: MakeClient) -> None:
    user = await make_person(await make_client(webhook_allow_private=False))
    for url in ("http://example.com/", "http://93.184.216.34/", "https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/"):
        found = await problem(await user.post("/api/webhooks", json={"url": url}), 422, "invalid")
        assert found["errors"].keys() == {"url"}
    made = await make_webhook(user, URL)
    await problem(await user.put(f"/api/webhooks/{made['id']}", json={"url": "https://127.0.0.1/"}), 422, "invalid")
    allowing = await make_person(await make_client(webhook_allow_private=True))
    for url in ("http://example.com/", "https://127.0.0.1/", "http://[::1]:8080/"):
        assert (await make_webhook(allowing, url))["url"] == url
