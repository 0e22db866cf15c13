"""The list of what was sent, and sending it again."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import web

from fw.background import Background
from fw.config import Config
from fw.database import purge
from fw.database.pool import Database
from fw.database.purge import Purge
from fw.outbox import worker
from fw.webhooks import courier
from fw.webhooks import deliveries as module
from tests.conftest import MakeUser
from tests.support.ages import grow_older
from tests.support.people import Person, body, nothing, problem
from tests.support.receiver import Got, Receiver, attempted, deliveries, make_webhook
from tests.support.waiting import until

HOUR_AGO = (datetime.now(UTC) - timedelta(hours=1)).isoformat()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what failed hold up nothing else, and not come again by itself."""
    monkeypatch.setattr(courier, "DELAYS", (3600.0,) * 7)
    monkeypatch.setattr(courier, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.05)


async def resend(user: Person, webhook: dict[str, Any], **asked: Any) -> int:
    answer = await body(await user.post(f"/api/webhooks/{webhook['id']}/resend", json=asked), 202)
    assert answer.keys() == {"queued"}
    return int(answer["queued"])


def all_tried(user: Person, webhook: dict[str, Any], number: int) -> Callable[[], Awaitable[bool]]:
    """Return a condition: so many deliveries of a webhook have been tried, and none waits to be sent now."""

    async def tried() -> bool:
        found = await deliveries(user, webhook)
        return len(found) == number and all(each["delivered_at"] or each["error"] for each in found)

    return tried


async def give_up(sql: asyncpg.Connection, user: Person) -> None:
    """Have all that failed be given up, as after the last attempt."""
    async with sql.transaction():
        await sql.execute("DELETE FROM lanes WHERE user_id = $1", user.id)
        await sql.execute("DELETE FROM jobs WHERE user_id = $1", user.id)
        await sql.execute("UPDATE deliveries SET next_attempt_at = NULL WHERE user_id = $1", user.id)


@pytest.fixture
async def failed(user: Person, receiver: Receiver, sql: asyncpg.Connection) -> dict[str, Any]:
    """A webhook with three deliveries that were given up; its receiver has come back."""
    receiver.answer = lambda got: web.Response(status=500)
    webhook = await make_webhook(user, receiver.url)
    for number in range(3):
        await user.receive(f"{number}")
    await until(all_tried(user, webhook, 3), "all to have failed")
    await give_up(sql, user)
    await until(lambda: sql.fetchval("SELECT count(*) = 0 FROM jobs WHERE user_id = $1 AND kind = 'webhook'", user.id))
    receiver.answer = lambda got: web.Response()
    receiver.got.clear()
    return webhook


async def test_lists_newest_first_a_page_at_a_time(user: Person, receiver: Receiver) -> None:
    webhook = await make_webhook(user, receiver.url)
    for number in range(3):
        await user.receive(f"{number}")
    await until(all_tried(user, webhook, 3))
    path = f"/api/webhooks/{webhook['id']}/deliveries"
    first = await body(await user.get(path, params={"limit": 2}))
    second = await body(await user.get(path, params={"limit": 2, "after": first["next"]}))
    assert second["next"] is None
    assert [item["id"] for item in first["items"] + second["items"]] == [got.id for got in reversed(receiver.got)]


async def test_one_is_sent_again_under_its_id(user: Person, receiver: Receiver) -> None:
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    found = await attempted(user, webhook)
    assert await resend(user, webhook, delivery_id=found["id"]) == 1
    first, second = await receiver.has(2)
    assert (first.id, first.json) == (second.id, second.json)
    again = await attempted(user, webhook, 2)
    assert (again["id"], again["attempts"], again["error"]) == (found["id"], 2, None)
    assert again["delivered_at"] >= found["delivered_at"]


async def test_one_that_waits_is_sent_now(user: Person, receiver: Receiver) -> None:
    receiver.answer = lambda got: web.Response(status=500 if len(receiver.got) < 2 else 200)
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    found = await attempted(user, webhook)
    assert await resend(user, webhook, delivery_id=found["id"]) == 1
    assert (await attempted(user, webhook, 2))["delivered_at"]
    assert len({got.id for got in receiver.got}) == 1


async def test_all_that_failed_since_then_are_sent_again_in_their_order(
    user: Person, receiver: Receiver, failed: dict[str, Any]
) -> None:
    before = [each["id"] for each in await deliveries(user, failed)]
    assert await resend(user, failed, since=HOUR_AGO) == 3
    got = await receiver.has(3)
    assert [each.id for each in got] == before
    assert [each.message for each in got] == ["0", "1", "2"]
    await until(all_tried(user, failed, 3))
    # Nothing has failed any more.
    assert await resend(user, failed, since=HOUR_AGO) == 0


async def test_pings_and_deleted_feedback_are_left_out(
    user: Person, receiver: Receiver, failed: dict[str, Any], sql: asyncpg.Connection
) -> None:
    first = (await deliveries(user, failed))[0]
    await nothing(await user.delete(f"/api/feedback/{first['feedback_id']}"))
    receiver.answer = lambda got: web.Response(status=500)
    await nothing(await user.post(f"/api/webhooks/{failed['id']}/test"), 202)
    await until(all_tried(user, failed, 5))
    await give_up(sql, user)
    # Two messages, and that the first was deleted.
    assert await resend(user, failed, since=HOUR_AGO) == 3


async def test_only_what_is_not_older_is_sent_again(user: Person, receiver: Receiver, failed: dict[str, Any]) -> None:
    second = (await deliveries(user, failed))[1]
    assert await resend(user, failed, since=second["created_at"]) == 2
    assert await resend(user, failed, since="2999-01-01") == 0
    assert [each.message for each in await receiver.has(2)] == ["1", "2"]


async def test_what_was_made_in_the_same_millisecond_is_not_older(
    user: Person, receiver: Receiver, failed: dict[str, Any], sql: asyncpg.Connection
) -> None:
    # As if each had been made within the millisecond in which its transaction began.
    await sql.execute(
        "UPDATE deliveries SET created_at = to_timestamp((id_time(id) >> 12) / 1000.0 + 0.0004) WHERE user_id = $1", user.id
    )
    second = (await deliveries(user, failed))[1]
    assert await resend(user, failed, since=second["created_at"]) == 2
    assert await resend(user, failed, since="0001-01-01T00:00:00Z") == 1


async def test_so_many_are_queued_at_once(
    user: Person, receiver: Receiver, failed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    assert [await resend(user, failed, since=HOUR_AGO) for _ in range(3)] == [2, 1, 0]
    assert [each.message for each in await receiver.has(3)] == ["0", "1", "2"]


async def test_it_has_to_be_turned_on(user: Person, receiver: Receiver, failed: dict[str, Any]) -> None:
    await body(await user.put(f"/api/webhooks/{failed['id']}", json={"is_active": False}))
    found = await problem(await user.post(f"/api/webhooks/{failed['id']}/resend", json={"since": HOUR_AGO}), 422, "invalid")
    assert found["errors"].keys() == {"_schema"}
    # A ping tells whether it may be.
    await nothing(await user.post(f"/api/webhooks/{failed['id']}/test"), 202)
    assert (await receiver.has(1))[0].json["type"] == "ping"


@pytest.mark.parametrize(
    ("asked", "blamed"),
    [
        *(({}, "_schema"), ({"delivery_id": str(uuid4()), "since": "2026-01-01"}, "_schema")),
        *(({"delivery_id": value}, "delivery_id") for value in ("x", 1, None, str(uuid4()))),
        *(({"since": value}, "since") for value in ("yesterday", 1, None, "2026-02-30")),
        ({"ids": []}, "ids"),
    ],
)
async def test_refuses_what_is_not_valid(user: Person, receiver: Receiver, asked: dict[str, Any], blamed: str) -> None:
    webhook = await make_webhook(user, receiver.url)
    found = await problem(await user.post(f"/api/webhooks/{webhook['id']}/resend", json=asked), 422, "invalid")
    assert blamed in found["errors"]


async def test_nobody_elses_delivery_is_sent(user: Person, make_user: MakeUser, receiver: Receiver) -> None:
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    found = await attempted(user, webhook)
    other = await make_user()
    theirs = await make_webhook(other, receiver.url)
    asked = {"delivery_id": found["id"]}
    await problem(await other.post(f"/api/webhooks/{theirs['id']}/resend", json=asked), 422, "invalid")
    await problem(await other.post(f"/api/webhooks/{webhook['id']}/resend", json=asked), 404, "not-found")


@pytest.fixture
def go_on(receiver: Receiver) -> asyncio.Event:
    """Have the receiver answer nothing before this is set."""
    event = asyncio.Event()

    async def wait(got: Got) -> web.Response:
        await event.wait()
        return web.Response()

    receiver.answer = wait
    return event


async def test_updates_of_an_item_that_wait_are_one_delivery(user: Person, receiver: Receiver, go_on: asyncio.Event) -> None:
    webhook = await make_webhook(user, receiver.url, "feedback.updated")
    first, second = await user.receive("first"), await user.receive("second")
    for number in range(7):
        await body(await user.patch(f"/api/feedback/{first}/read", json={"is_read": number % 2 == 0}))
        await receiver.has(1)
    await body(await user.patch(f"/api/feedback/{second}/read"))
    assert len(await deliveries(user, webhook)) == 3
    go_on.set()
    told = [(got.json["data"]["id"], got.json["data"]["is_read"]) for got in await receiver.has(3)]
    assert told == [(first, True), (first, True), (second, True)]
    # What has been sent is over: the next update is told again.
    await body(await user.patch(f"/api/feedback/{first}/read", json={"is_read": False}))
    assert (await receiver.has(4))[-1].json["data"]["is_read"] is False


async def test_an_update_while_one_is_sent_again_is_told(user: Person, receiver: Receiver, go_on: asyncio.Event) -> None:
    webhook = await make_webhook(user, receiver.url, "feedback.updated")
    item = await user.receive()
    await body(await user.patch(f"/api/feedback/{item}/read"))
    (got,) = await receiver.has(1)
    # It is under way, and begins anew.
    assert await resend(user, webhook, delivery_id=got.id) == 1
    await body(await user.patch(f"/api/feedback/{item}/read", json={"is_read": False}))
    go_on.set()
    await until(lambda: asyncio.sleep(0, receiver.got[-1].json["data"]["is_read"] is False), "the last state to be told")


async def test_no_more_than_ten_pings_wait(user: Person, receiver: Receiver, go_on: asyncio.Event) -> None:
    webhook = await make_webhook(user, receiver.url)
    for number in range(20):
        await nothing(await user.post(f"/api/webhooks/{webhook['id']}/test"), 202)
        if not number:
            await receiver.has(1)
    assert len(await deliveries(user, webhook)) == 11
    go_on.set()
    await receiver.has(11)


async def test_a_ping_goes_before_a_backlog(user: Person, receiver: Receiver, go_on: asyncio.Event) -> None:
    webhook = await make_webhook(user, receiver.url)
    await asyncio.gather(*(user.receive() for _ in range(10)))
    await receiver.has(1)
    await nothing(await user.post(f"/api/webhooks/{webhook['id']}/test"), 202)
    go_on.set()
    got = await receiver.has(11)
    assert got[1].json["type"] == "ping"


async def test_deliveries_are_kept_thirty_days(
    config: Config, user: Person, receiver: Receiver, sql: asyncpg.Connection
) -> None:
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    await attempted(user, webhook)
    for by, left in ((timedelta(days=29, hours=23), 1), (timedelta(hours=1), 0)):
        await grow_older(sql, "deliveries", "created_at", user.id, by)
        async with Database(config) as database:
            await Purge(database, Background()).purge()
        assert len(await deliveries(user, webhook)) == left


async def test_so_many_deliveries_of_a_webhook_are_kept(
    config: Config, user: Person, receiver: Receiver, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(purge.STATEMENTS, "many_deliveries", (10, 2))  # type: ignore[arg-type]
    webhook = await make_webhook(user, receiver.url)
    for number in range(5):
        await user.receive(f"{number}")
    await until(all_tried(user, webhook, 5))
    kept = [each["id"] for each in await deliveries(user, webhook)]
    await sql.execute("UPDATE deliveries SET next_attempt_at = now() WHERE id = $1", kept[0])
    async with Database(config) as database:
        await Purge(database, Background()).purge()
    # What waits stays, however old it is.
    assert [each["id"] for each in await deliveries(user, webhook)] == [kept[0], *kept[3:]]
