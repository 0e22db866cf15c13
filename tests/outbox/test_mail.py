"""Mails: what is sent, to whom, how often, and what becomes of it if the mail server does not take it."""

import asyncio
import logging
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestClient
from aiosmtpd.smtp import AuthResult, LoginPassword

from fw.ids import new_id
from fw.outbox import smtp
from fw.outbox.mail import DELAYS
from fw.outbox.worker import OUTBOX
from tests.conftest import MakeClient
from tests.support.jobs import come_now, ended, waits
from tests.support.people import Person, body, make_person, nothing
from tests.support.postbox import Postbox, html, link, plain, postbox, token
from tests.support.servers import certificate, free_port, silence
from tests.support.waiting import someone_waits_for, until


async def test_a_mail_has_two_parts_and_the_headers_that_it_needs(client: TestClient, box: Postbox) -> None:
    user = await make_person(client)
    mail = await box.mail(user.email)
    assert mail.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail["From"] == "FeedbackWave <mail@feedback.example>"
    assert mail["To"] == user.email
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime.tzinfo
    assert mail["Message-ID"].endswith("@feedback.example>")
    assert mail["List-Unsubscribe"] is None
    assert link(mail, "verify").startswith("https://feedback.example/verify#token=")
    assert user.username in plain(mail)
    assert "http" not in html(mail).replace("https://feedback.example/", "")


async def test_a_mail_that_is_not_taken_is_tried_again_later_and_later(
    client: TestClient, box: Postbox, sql: asyncpg.Connection
) -> None:
    box.answers.extend(["451 try again later"] * 6)
    user = await make_person(client)
    for attempts, delay in enumerate(DELAYS, 1):
        waited = await waits(sql, user, attempts)
        assert delay - 10 < waited <= delay
        await come_now(sql, user)
    await ended(sql, user)
    assert box.attempts.count(user.email) == 6
    assert box.to(user.email) == []
    assert client.app[OUTBOX].tallies["mail"].failed == {"busy": 5, "busy, too often": 1}


async def test_a_mail_that_was_tried_again_is_the_same(client: TestClient, box: Postbox, sql: asyncpg.Connection) -> None:
    box.answers.append("451 try again later")
    user = await make_person(client)
    await waits(sql, user, 1)
    job_id = await sql.fetchval("SELECT id FROM jobs WHERE user_id = $1", user.id)
    await come_now(sql, user)
    mail = await box.mail(user.email)
    assert mail["Message-ID"] == f"<{job_id}@feedback.example>"
    await nothing(await client.post("/api/auth/verify", json={"token": token(mail, "verify")}))


async def test_a_mail_that_is_refused_is_not_tried_again(client: TestClient, box: Postbox, sql: asyncpg.Connection) -> None:
    box.answers.append("550 nobody here")
    user = await make_person(client)
    await ended(sql, user)
    assert box.attempts.count(user.email) == 1
    assert client.app[OUTBOX].tallies["mail"].failed == {"refused": 1}


async def test_a_server_that_is_away_loses_no_mail(make_client: MakeClient, sql: asyncpg.Connection) -> None:
    client = await make_client(smtp_url=f"smtp://127.0.0.1:{free_port()}", mail_from="mail@feedback.example")
    user = await make_person(client)
    assert await waits(sql, user, 1) <= DELAYS[0]
    assert client.app[OUTBOX].tallies["mail"].failed == {"network": 1}


async def test_a_server_that_says_nothing_holds_nothing_up_for_long(
    make_client: MakeClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "STEP_SECONDS", 0.2)
    async with silence() as port:
        client = await make_client(smtp_url=f"smtp://127.0.0.1:{port}", mail_from="mail@feedback.example")
        user = await make_person(client)
        await waits(sql, user, 1)
        assert client.app[OUTBOX].tallies["mail"].failed == {"timeout": 1}


async def test_a_server_that_looks_into_a_mail_for_long_is_given_it_once(
    make_client: MakeClient, box: Postbox, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "STEP_SECONDS", 0.2)
    monkeypatch.setattr("fw.outbox.worker.RENEW_SECONDS", 0.1)
    box.hold = asyncio.Event()
    user = await make_person(await make_client(**box.settings))

    async def leased_until() -> Any:
        return await sql.fetchval("SELECT leased_until FROM lanes WHERE user_id = $1 AND lease IS NOT NULL", user.id)

    first = await until(leased_until)

    async def is_renewed() -> bool:
        return bool(box.attempts and await leased_until() > first + timedelta(seconds=0.5))

    await until(is_renewed)
    box.hold.set()
    await box.mail(user.email, "Confirm")

    async def is_done() -> bool:
        return not await sql.fetchval("SELECT count(*) FROM jobs WHERE user_id = $1", user.id)

    await until(is_done)
    assert len(box.to(user.email)) == 1


async def test_without_a_mail_server_nothing_is_sent_or_told(
    make_client: MakeClient, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    client = await make_client()
    user = await make_person(client)
    await ended(sql, user)
    assert client.app[OUTBOX].tallies["mail"].failed == {"no smtp": 1}
    assert "job given up" not in caplog.text


async def test_with_the_embedded_database_links_are_logged(
    make_client: MakeClient, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = await make_client(is_embedded=True, port=8123)
    user = await make_person(client)
    await ended(sql, user)
    links = [vars(record)["link"] for record in caplog.records if "link" in vars(record)]
    found = next(link for link in links if link.startswith("http://127.0.0.1:8123/verify#token="))
    await nothing(await client.post("/api/auth/verify", json={"token": found.partition("token=")[2]}))


async def test_what_has_ended_is_not_mailed(client: TestClient, box: Postbox, sql: asyncpg.Connection) -> None:
    box.answers.append("451 try again later")
    user = await make_person(client)
    await waits(sql, user, 1)
    await nothing(await user.post("/api/auth/verify/resend"), 202)
    mail = await box.mail(user.email)
    await come_now(sql, user)
    await ended(sql, user)
    assert box.to(user.email) == [mail]
    await nothing(await client.post("/api/auth/verify", json={"token": token(mail, "verify")}))


async def test_a_replaced_secret_breaks_no_mail_that_waits(
    make_client: MakeClient, box: Postbox, sql: asyncpg.Connection
) -> None:
    old, new = "an old secret of 32 bytes and more", "a new secret of 32 bytes and more"
    first = await make_client(smtp_url="smtp://127.0.0.1:1", mail_from="mail@feedback.example", jwt_secrets=(old,))
    user = await make_person(first)
    await waits(sql, user, 1)
    await first.close()
    second = await make_client(**box.settings, jwt_secrets=(new, old))
    await come_now(sql, user)
    mail = await box.mail(user.email)
    await nothing(await second.post("/api/auth/verify", json={"token": token(mail, "verify")}))


async def test_two_processes_send_each_mail_once(make_client: MakeClient, box: Postbox, sql: asyncpg.Connection) -> None:
    servers = [await make_client(**box.settings) for _ in range(2)]
    users = await asyncio.gather(*(make_person(servers[n % 2]) for n in range(20)))
    for user in users:
        await ended(sql, user)
    assert [len(box.to(user.email)) for user in users] == [1] * 20


async def test_addresses_of_any_kind_are_harmless(client: TestClient, box: Postbox) -> None:
    for local, domain, sent in (
        ("jörg", "example.com", "example.com"),
        ("a.b+c'd!#$%&*/=?^_`{|}~-", "example.com", "example.com"),
        ("you", "bücher.example.com", "xn--bcher-kva.example.com"),
    ):
        unique = f"{local}{len(box.mails)}"
        await make_person(client, email=f"{unique}@{domain}")
        await box.mail(f"{unique}@{sent}")
    answer = await client.post(
        "/api/auth/register",
        json={"email": "a@example.com\r\nBcc: b@example.com", "username": "abcdefgh", "password": "a long one of yours"},
    )
    assert answer.status == 422


async def test_a_server_that_takes_no_other_alphabets_is_not_asked_twice(
    make_client: MakeClient, sql: asyncpg.Connection
) -> None:
    async with postbox(enable_SMTPUTF8=False) as box:
        client = await make_client(**box.settings)
        user = await make_person(client, email="jürgen@example.com")
        await ended(sql, user)
        assert box.attempts == []
        assert client.app[OUTBOX].tallies["mail"].failed == {"address": 1}


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_speaks_tls_and_logs_in(
    make_client: MakeClient, sql: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    made, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    # aiosmtpd knows of the TLS alone that it has begun itself.
    options = {"tls_context": context, "auth_required": True} if scheme == "smtp" else {"auth_require_tls": False}
    async with postbox(ssl=context if scheme == "smtps" else None, authenticator=is_known, **options) as box:
        settings = {**box.settings, "smtp_url": f"{scheme}://me:p%40ss@localhost:{box.port}"}
        user = await make_person(await make_client(**settings))
        await box.mail(user.email)
        assert box.was_tls == [True]


async def test_a_login_that_is_refused_may_be_mended(make_client: MakeClient, sql: asyncpg.Connection) -> None:
    async with postbox(authenticator=is_known, auth_require_tls=False) as box:
        client = await make_client(**{**box.settings, "smtp_url": f"smtp://me:wrong@localhost:{box.port}"})
        user = await make_person(client)
        assert await waits(sql, user, 1) <= DELAYS[0]
        assert client.app[OUTBOX].tallies["mail"].failed == {"login": 1}


async def test_no_password_is_sent_without_tls_to_another_host(make_client: MakeClient, sql: asyncpg.Connection) -> None:
    asked: list[str] = []

    def note(*_: object) -> AuthResult:
        asked.append("log-in")
        return AuthResult(success=True)

    async with postbox(host="0.0.0.0", authenticator=note, auth_require_tls=False) as box:
        client = await make_client(**{**box.settings, "smtp_url": f"smtp://me:p%40ss@127.0.0.2:{box.port}"})
        user = await make_person(client)
        await waits(sql, user, 1)
        assert client.app[OUTBOX].tallies["mail"].failed == {"no TLS for the password": 1}
    assert asked == []


def is_known(server: object, session: object, envelope: object, mechanism: str, given: LoginPassword) -> AuthResult:
    return AuthResult(success=given == LoginPassword(b"me", b"p@ss"), handled=False)


async def test_a_changed_password_is_told(client: TestClient, box: Postbox) -> None:
    user = await make_person(client)
    await nothing(
        await user.post("/api/auth/password", json={"current_password": user.password, "new_password": "an entirely new one"})
    )
    mail = await box.mail(user.email, "Your password was changed")
    assert "https://feedback.example/forgot" in plain(mail)


async def test_a_changed_address_is_told_to_the_old_one_and_asked_of_the_new_one(client: TestClient, box: Postbox) -> None:
    user = await make_person(client)
    first = token(await box.mail(user.email, "Confirm"), "verify")
    await nothing(await client.post("/api/auth/verify", json={"token": first}))
    assert (await body(await user.get("/api/auth/me")))["email_verified"]
    new = f"new-{user.email}"
    changed = await body(await user.put("/api/users/profile", json={"email": new, "current_password": user.password}))
    assert not changed["email_verified"]
    assert new not in plain(await box.mail(user.email, "Your e-mail address was changed"))
    mail = await box.mail(new, "Confirm")
    await nothing(await client.post("/api/auth/verify", json={"token": token(mail, "verify")}))
    assert (await body(await user.get("/api/auth/me")))["email_verified"]


async def test_another_spelling_of_the_address_is_told_to_nobody(
    client: TestClient, box: Postbox, sql: asyncpg.Connection
) -> None:
    user = await make_person(client)
    await body(await user.put("/api/users/profile", json={"email": user.email.title()}))
    await body(await user.put("/api/users/profile", json={"username": f"x{user.username[:20]}"}))
    await ended(sql, user)
    assert [mail["Subject"] for mail in box.to(user.email)] == ["Confirm your e-mail address"]


async def test_a_webhook_that_was_turned_off_is_told(client: TestClient, box: Postbox, sql: asyncpg.Connection) -> None:
    user = await make_person(client)
    webhook = await sql.fetchval(
        "INSERT INTO webhooks (user_id, id, url, events, is_active, created_at, disabled_reason, secret)"
        " VALUES ($1, gen_random_uuid(), 'https://hooks.example/<b>', '{}', false, now(), '410 Gone', 'whsec_x') RETURNING id",
        user.id,
    )
    await sql.execute(
        "SELECT jobs_add($1, 'mail', 'account', ARRAY[gen_random_uuid()],"
        " ARRAY[json_build_object('letter', 'webhook', 'webhook_id', $2::uuid)], ARRAY[0])",
        user.id,
        webhook,
    )
    mail = await box.mail(user.email, "A webhook was turned off")
    assert "https://hooks.example/<b> was turned off (410 Gone)" in plain(mail)
    assert "https://hooks.example/&lt;b&gt;" in html(mail)
    assert f"/inbox/webhooks/{webhook}" in plain(mail)


async def test_webhooks_that_are_turned_off_are_told_five_times_a_day(user: Person, sql: asyncpg.Connection) -> None:
    webhook = await sql.fetchval(
        "INSERT INTO webhooks (user_id, id, url, events, is_active, created_at, secret)"
        " VALUES ($1, gen_random_uuid(), 'https://hooks.example', '{}', true, now(), 'whsec_x') RETURNING id",
        user.id,
    )
    async with sql.transaction():
        for _ in range(7):
            await sql.execute("UPDATE webhooks SET is_active = true WHERE id = $1", webhook)
            assert await sql.fetchval("SELECT webhook_turn_off($1, $2, '410')", user.id, webhook)
        told = "SELECT count(*) FROM jobs WHERE user_id = $1 AND payload ->> 'letter' = 'webhook'"
        assert await sql.fetchval(told, user.id) == 5


async def test_a_mail_that_is_asked_for_while_the_account_is_deleted_leaves_nothing_behind(
    client: TestClient, box: Postbox, sql: asyncpg.Connection
) -> None:
    box.answers.append("451 try again later")
    user = await make_person(client)
    await waits(sql, user, 1)
    async with sql.transaction():
        # As whoever asks for another mail does, who is not ready yet.
        await sql.execute(
            "SELECT jobs_add($1, 'mail', 'account', ARRAY[$2::uuid], ARRAY['{}'::json], ARRAY[0])",
            user.id,
            new_id(),
        )
        deletion = asyncio.create_task(user.delete("/api/users/profile", json={"current_password": user.password}))
        await someone_waits_for(sql)
    await nothing(await deletion)
    left = (
        "SELECT count(*) FROM jobs AS j WHERE user_id = $1 AND NOT EXISTS (SELECT FROM lanes AS l WHERE l.user_id = j.user_id)"
    )
    assert await sql.fetchval(left, user.id) == 0


async def test_a_mail_of_a_deleted_account_is_not_sent(client: TestClient, box: Postbox, sql: asyncpg.Connection) -> None:
    box.answers.append("451 try again later")
    user = await make_person(client)
    await waits(sql, user, 1)
    await nothing(await user.delete("/api/users/profile", json={"current_password": user.password}))
    assert await sql.fetchval("SELECT count(*) FROM jobs WHERE user_id = $1", user.id) == 0
