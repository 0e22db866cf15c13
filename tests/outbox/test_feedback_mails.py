"""Mails of new feedback: one for each, or a digest an hour or a day; and how they end."""

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw.outbox import mail
from fw.outbox.worker import OUTBOX
from tests.conftest import MakeClient
from tests.support.ages import grow_older
from tests.support.jobs import come_now, ended
from tests.support.people import Person, body, make_person, nothing
from tests.support.postbox import Postbox, html, link, plain, token
from tests.support.waiting import until

NOTIFICATIONS = "/api/users/notifications"
DIGEST = "in your inbox"


@pytest.fixture
async def user(client: TestClient, box: Postbox) -> Person:
    """Somebody whose address is verified."""
    return await verified(await make_person(client), box)


async def verified(user: Person, box: Postbox) -> Person:
    asked = token(await box.mail(user.email, "Confirm"), "verify")
    await nothing(await user.client.post("/api/auth/verify", json={"token": asked}))
    return user


async def wish(user: Person, **wanted: Any) -> None:
    await body(await user.put(NOTIFICATIONS, json=wanted))


async def period_over(sql: asyncpg.Connection, user: Person) -> None:
    """Have an hour, or a day, pass for an account: what came before lies in one that has ended, and its digest is due."""
    await until(
        lambda: sql.fetchval(
            "SELECT true FROM jobs JOIN lanes USING (user_id, kind, key)"
            " WHERE user_id = $1 AND key = 'digest' AND jobs.due > now() AND lease IS NULL",
            user.id,
        ),
        "a digest to wait",
    )
    await let_pass(sql, user)


async def let_pass(sql: asyncpg.Connection, user: Person) -> None:
    for table, days in (("feedback", 3), ("jobs", 2)):
        await grow_older(sql, table, "created_at", user.id, timedelta(days=days), "created_at > now() - interval '1 day'")
    await come_now(sql, user)


async def test_each_feedback_is_mailed(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await wish(user, mail="each")
    feedback_id = await user.receive("Well done!", metadata={"rating": 4})
    found = await box.mail(user.email, "New feedback")
    assert found["Subject"] == "New feedback: Well done!"
    assert found["Message-ID"] == f"<{feedback_id}@feedback.example>"
    for text in (plain(found), html(found)):
        assert "Well done!" in text
        assert "Rating: 4" in text
        assert "https://feedback.example/inbox" in text
    await ended(sql, user)
    assert len(box.to(user.email, "New feedback")) == 1


async def test_what_people_write_is_text(user: Person, box: Postbox) -> None:
    await wish(user, mail="each")
    evil = (
        "<img src=x onerror=alert(1)> {{ 7 * 7 }}\r\nBcc: you@example.com\r\n\r\n.\r\n"
        "\x1b[31mred\x07 \u2028 & \N{PILE OF POO}" + "x" * 2000
    )
    await user.receive(evil)
    found = await box.mail(user.email, "New feedback")
    assert len(found["Subject"]) <= 120
    assert not {"\r", "\n", "\x1b"} & set(found["Subject"])
    assert found["Bcc"] is None
    assert box.recipients.count("you@example.com") == 0
    assert "<img src=x onerror=alert(1)> {{ 7 * 7 }}\nBcc: you@example.com\n\n.\n[31mred  & \N{PILE OF POO}xxx" in plain(found)
    assert "&lt;img src=x onerror=alert(1)&gt; {{ 7 * 7 }}" in html(found)
    assert "<img" not in html(found)


async def test_what_is_read_or_deleted_is_not_mailed(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await wish(user, mail="each")
    box.answers.extend(["451 later"] * 3)
    read, deleted, kept = [await user.receive(text) for text in ("read", "deleted", "kept")]
    await until(lambda: sql.fetchval("SELECT bool_and(due > now()) FROM jobs WHERE user_id = $1", user.id), "all to be tried")
    await body(await user.patch(f"/api/feedback/{read}/read"))
    await nothing(await user.delete(f"/api/feedback/{deleted}"))
    await come_now(sql, user)
    await ended(sql, user)
    assert [each["Subject"] for each in box.to(user.email, "New feedback")] == ["New feedback: kept"]
    assert kept


async def test_nothing_is_mailed_unless_it_is_wanted(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await user.receive()
    await wish(user, mail="each")
    await wish(user, mail="off")
    await user.receive()
    await ended(sql, user)
    assert box.to(user.email, "feedback") == []
    assert await sql.fetchval("SELECT watch FROM inboxes WHERE user_id = $1", user.id) == 0


async def test_nothing_is_mailed_to_an_address_that_is_not_verified(
    client: TestClient, box: Postbox, sql: asyncpg.Connection
) -> None:
    user = await make_person(client)
    await wish(user, mail="each")
    await user.receive()
    await ended(sql, user)
    assert client.app[OUTBOX].tallies["mail"].failed == {"not verified": 1}
    assert len(box.to(user.email)) == 1


async def test_a_digest_waits_for_its_end_and_lists_what_came(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await user.receive("before it was turned on")
    await wish(user, mail="daily", timezone="Asia/Tokyo")
    ids = [await user.receive(f"item {number} <b>") for number in range(23)]
    await user.receive("deleted")
    await nothing(await user.delete(f"/api/feedback/{await user.receive('gone')}"))
    await period_over(sql, user)
    found = await box.mail(user.email, DIGEST)
    assert found["Subject"] == "24 new messages in your inbox"
    text = plain(found)
    assert [number for number in range(23) if f"item {number} <b>\n" in text] == list(range(20))
    assert "And 4 more." in text
    assert "gone" not in text
    assert "before" not in text
    assert "item 3 &lt;b&gt;" in html(found)
    await ended(sql, user)
    assert len(box.to(user.email, DIGEST)) == 1
    assert ids


async def test_no_digest_is_sent_of_nothing(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await wish(user, mail="hourly")
    await nothing(await user.delete(f"/api/feedback/{await user.receive()}"))
    await period_over(sql, user)
    await ended(sql, user)
    assert box.to(user.email, DIGEST) == []
    # The next one comes as if this one had not been.
    await user.receive("another")
    await period_over(sql, user)
    assert (await box.mail(user.email, DIGEST))["Subject"] == "1 new message in your inbox"


async def test_what_arrives_while_a_digest_is_sent_is_in_the_next(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await wish(user, mail="hourly")
    await user.receive("first")
    box.hold = asyncio.Event()
    await period_over(sql, user)
    await until(lambda: asyncio.sleep(0, box.attempts.count(user.email) == 2), "the digest to be on its way")
    await user.receive("second")
    box.hold.set()
    assert "second" not in plain(await box.mail(user.email, DIGEST))
    await period_over(sql, user)
    second = plain(await box.mail(user.email, DIGEST, count=2))
    assert "second" in second
    assert "first" not in second
    await ended(sql, user)


async def test_nothing_falls_between_two_digests(
    user: Person, box: Postbox, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However submissions and the ends of digests meet."""
    monkeypatch.setattr(mail, "LISTED", 100)
    await wish(user, mail="hourly")

    async def send() -> None:
        for number in range(60):
            await user.receive(f"message {number};")

    sending = asyncio.create_task(send())
    async with asyncio.timeout(30):
        while not sending.done() or await sql.fetchval("SELECT EXISTS (SELECT FROM jobs WHERE user_id = $1)", user.id):
            await let_pass(sql, user)
            await asyncio.sleep(0.03)
    await sending
    told = "".join(plain(each) for each in box.to(user.email, DIGEST))
    assert [told.count(f"message {number};") for number in range(60)] == [1] * 60


async def test_a_digest_is_sent_once_by_two_processes(
    make_client: MakeClient, user: Person, box: Postbox, sql: asyncpg.Connection
) -> None:
    await make_client(**box.settings)
    others = [await verified(await make_person(user.client), box) for _ in range(5)]
    for owner in (user, *others):
        await wish(owner, mail="hourly")
        await owner.receive("Well done!")
    for owner in (user, *others):
        await period_over(sql, owner)
    for owner in (user, *others):
        await ended(sql, owner)
        assert len(box.to(owner.email, DIGEST)) == 1


async def test_a_digest_that_is_refused_takes_nothing_with_it(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await wish(user, mail="hourly")
    await user.receive("lost")
    box.answers.append("550 mailbox full")
    await period_over(sql, user)
    await ended(sql, user)
    await user.receive("kept")
    await period_over(sql, user)
    text = plain(await box.mail(user.email, DIGEST))
    assert "kept" in text
    assert "lost" not in text


async def test_a_digest_that_is_tried_again_has_the_same_id(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await wish(user, mail="hourly")
    await user.receive("Well done!")
    job_id = await sql.fetchval("SELECT id FROM jobs WHERE user_id = $1", user.id)
    box.answers.append("451 later")
    await period_over(sql, user)
    await until(lambda: sql.fetchval("SELECT attempts = 1 AND due > now() FROM jobs WHERE user_id = $1", user.id))
    await come_now(sql, user)
    assert (await box.mail(user.email, DIGEST))["Message-ID"] == f"<{job_id}@feedback.example>"


async def test_from_days_to_hours_nothing_is_left_out(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await wish(user, mail="daily")
    await user.receive("first")
    await wish(user, mail="hourly", timezone="Europe/Berlin")
    await user.receive("second")
    await period_over(sql, user)
    text = plain(await box.mail(user.email, DIGEST))
    assert "first" in text
    assert "second" in text


async def test_what_is_turned_off_withdraws_the_digest(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await wish(user, mail="daily")
    await user.receive()
    await wish(user, mail="off")
    assert await sql.fetchval("SELECT count(*) FROM jobs WHERE user_id = $1", user.id) == 0
    await wish(user, mail="daily")
    await ended(sql, user)
    assert box.to(user.email, DIGEST) == []


async def test_a_zone_that_is_no_more_holds_no_digest_up(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await wish(user, mail="daily")
    await sql.execute("UPDATE notifications SET timezone = 'Mars/Olympus' WHERE user_id = $1", user.id)
    await user.receive()
    await period_over(sql, user)
    await box.mail(user.email, DIGEST)


async def test_the_mail_program_unsubscribes_by_itself(user: Person, box: Postbox) -> None:
    await wish(user, mail="each")
    await user.receive()
    found = await box.mail(user.email, "New feedback")
    assert found["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    address = str(found["List-Unsubscribe"]).strip("<>")
    assert address == link(found, "unsubscribe")
    path = address.removeprefix("https://feedback.example")
    # Whatever opens links to look at them unsubscribes nobody.
    assert (await user.client.get(path)).status == 200
    assert (await body(await user.get(NOTIFICATIONS)))["mail"] == "each"
    for _ in range(2):
        assert (await user.client.post(path, data={"List-Unsubscribe": "One-Click"})).status == 200
        assert (await body(await user.get(NOTIFICATIONS)))["mail"] == "off"


async def test_without_https_the_link_alone_unsubscribes(
    make_client: MakeClient, box: Postbox, sql: asyncpg.Connection
) -> None:
    client = await make_client(**box.settings)
    user = await verified(await make_person(client), box)
    await wish(user, mail="each")
    await user.receive()
    found = await box.mail(user.email, "New feedback")
    assert found["List-Unsubscribe"] == f"<{link(found, 'unsubscribe')}>"
    assert found["List-Unsubscribe-Post"] is None


async def test_without_a_mail_server_digests_end_too(make_client: MakeClient, sql: asyncpg.Connection) -> None:
    client = await make_client(is_embedded=True)
    user = await make_person(client)
    await wish(user, mail="hourly")
    await user.receive()
    await period_over(sql, user)
    await ended(sql, user)
    assert client.app[OUTBOX].tallies["mail"].failed == {}
