"""What a receiver gets, and what is done if it does not take it."""

import asyncio
import ssl
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from standardwebhooks import WebhookVerificationError

from fw.outbox import worker
from fw.webhooks import courier
from tests.conftest import MakeClient, MakeUser
from tests.support.people import Person, body, make_person, nothing
from tests.support.receiver import Got, Receiver, attempted, deliveries, hanging, make_webhook, receiving
from tests.support.servers import certificate, free_port, listening, silence
from tests.support.waiting import until

ALL = ("feedback.created", "feedback.updated", "feedback.deleted")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the next attempts come at once."""
    monkeypatch.setattr(courier, "DELAYS", (0.05,) * 7)
    monkeypatch.setattr(courier, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.05)


@pytest.fixture
def trusted_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Give a trusted TLS of localhost. Ask for it before the service, whose sender gets the environment when it starts."""
    made, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    return context


# What comes


async def test_sends_what_the_api_shows_signed(user: Person, receiver: Receiver) -> None:
    webhook = await make_webhook(user, receiver.url, ALL[0])
    feedback_id = await user.receive("Grüße 🎉", metadata={"page": "/pricing", "big": 2**60})
    (got,) = await receiver.has(1)
    got.check(webhook["secret"])
    assert got.json == {
        "type": "feedback.created",
        "timestamp": got.json["timestamp"],
        "data": await body(await user.get(f"/api/feedback/{feedback_id}")),
    }
    assert got.json["timestamp"].endswith("Z")
    assert datetime.fromisoformat(got.json["timestamp"])
    assert got.headers["content-type"] == "application/json"
    assert got.headers["accept-encoding"] == "identity"
    assert got.headers["user-agent"].startswith("FeedbackWave/")
    assert got.headers["host"] == receiver.url.split("/")[2]
    assert "cookie" not in got.headers
    found = await attempted(user, webhook)
    assert (found["id"], found["type"], found["feedback_id"]) == (got.id, "feedback.created", feedback_id)
    assert (found["attempts"], found["status_code"], found["error"], found["next_attempt_at"]) == (1, 200, None, None)
    assert found["delivered_at"]


async def test_a_changed_body_is_found_out(user: Person, receiver: Receiver) -> None:
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    (got,) = await receiver.has(1)
    got.body = got.body.replace(b"Well", b"Not ")
    with pytest.raises(WebhookVerificationError):
        got.check(webhook["secret"])


async def test_sends_each_event_that_was_asked_for_in_its_order(user: Person, receiver: Receiver) -> None:
    await make_webhook(user, receiver.url)
    feedback_id = await user.receive()
    await receiver.has(1)
    await body(await user.patch(f"/api/feedback/{feedback_id}/read"))
    await receiver.has(2)
    await nothing(await user.delete(f"/api/feedback/{feedback_id}"))
    created, updated, deleted = await receiver.has(3)
    assert [got.json["type"] for got in receiver.got] == list(ALL)
    assert (created.json["data"]["is_read"], updated.json["data"]["is_read"]) == (False, True)
    assert deleted.json["data"] == {"id": feedback_id}


async def test_sends_no_event_that_was_not_asked_for(user: Person, receiver: Receiver, sql: asyncpg.Connection) -> None:
    await make_webhook(user, receiver.url, ALL[2])
    feedback_id = await user.receive()
    await body(await user.patch(f"/api/feedback/{feedback_id}/read"))
    await nothing(await user.delete(f"/api/feedback/{feedback_id}"))
    (got,) = await receiver.has(1)
    assert got.json["type"] == "feedback.deleted"
    assert await sql.fetchval("SELECT count(*) FROM deliveries WHERE user_id = $1", user.id) == 1


async def test_sends_in_the_order_of_the_cursor(user: Person, receiver: Receiver) -> None:
    await make_webhook(user, receiver.url, ALL[0])
    for _ in range(10):
        await asyncio.gather(*(user.receive() for _ in range(10)))
    got = await receiver.has(100)
    cursors = [each.json["data"]["cursor"] for each in got]
    assert cursors == sorted(cursors)
    assert len(set(cursors)) == len({each.id for each in got}) == 100


async def test_each_webhook_gets_it_under_an_id_of_its_own(user: Person, receiver: Receiver) -> None:
    for name in ("a", "b"):
        await make_webhook(user, f"{receiver.url}/{name}")
    await user.receive()
    await receiver.has(2)
    assert {got.path for got in receiver.got} == {"/hook/a", "/hook/b"}
    assert len({got.id for got in receiver.got}) == 2


async def test_sends_nothing_of_what_was_deleted_meanwhile(user: Person, receiver: Receiver) -> None:
    go_on = asyncio.Event()

    async def wait(got: Got) -> web.Response:
        await go_on.wait()
        return web.Response()

    receiver.answer = wait
    webhook = await make_webhook(user, receiver.url)
    await user.receive("first")
    await receiver.has(1)
    feedback_id = await user.receive("a secret")
    await nothing(await user.delete(f"/api/feedback/{feedback_id}"))
    go_on.set()
    got = await receiver.has(2)
    assert [each.json["type"] for each in got] == ["feedback.created", "feedback.deleted"]
    assert (await deliveries(user, webhook))[1]["error"] == "deleted before it was delivered"
    assert not any(b"a secret" in each.body for each in got)


async def test_two_secrets_sign_for_a_day(user: Person, receiver: Receiver, sql: asyncpg.Connection) -> None:
    webhook = await make_webhook(user, receiver.url)
    new = (await body(await user.post(f"/api/webhooks/{webhook['id']}/secret")))["secret"]
    assert new != webhook["secret"]
    await user.receive()
    (got,) = await receiver.has(1)
    for secret in (webhook["secret"], new):
        got.check(secret)
    left = await sql.fetchval("SELECT old_secret_until - now() FROM webhooks WHERE id = $1", webhook["id"])
    assert 23.9 < left.total_seconds() / 3600 <= 24
    await sql.execute("UPDATE webhooks SET old_secret_until = now() WHERE id = $1", webhook["id"])
    await user.receive()
    _, got = await receiver.has(2)
    got.check(new)
    with pytest.raises(WebhookVerificationError):
        got.check(webhook["secret"])


async def test_a_ping_has_no_data_and_goes_out_once(user: Person, receiver: Receiver) -> None:
    receiver.answer = lambda got: web.Response(status=500)
    webhook = await make_webhook(user, receiver.url)
    await nothing(await user.post(f"/api/webhooks/{webhook['id']}/test"), 202)
    (got,) = await receiver.has(1)
    got.check(webhook["secret"])
    assert (got.json["type"], got.json["data"]) == ("ping", None)
    found = await attempted(user, webhook)
    assert (found["type"], found["feedback_id"], found["next_attempt_at"]) == ("ping", None, None)
    assert found["error"] == "the answer was 500"
    assert (await body(await user.get(f"/api/webhooks/{webhook['id']}")))["failing_since"] is None


# What is tried again


async def test_what_turns_it_off_writes_a_mail(user: Person, receiver: Receiver, sql: asyncpg.Connection) -> None:
    webhook = await make_webhook(user, receiver.url)
    # Seen before it is committed, since then it is sent.
    transaction = sql.transaction()
    await transaction.start()
    assert await sql.fetchval("SELECT webhook_turn_off($1, $2, 'It does not work.')", user.id, webhook["id"])
    found = await sql.fetch(
        "SELECT key, payload ->> 'letter' AS letter, payload ->> 'webhook_id' AS id FROM jobs"
        " WHERE user_id = $1 AND kind = 'mail' AND payload ->> 'letter' = 'webhook'",
        user.id,
    )
    assert [tuple(job) for job in found] == [("account", "webhook", webhook["id"])]
    assert not await sql.fetchval("SELECT webhook_turn_off($1, $2, 'It does not work.')", user.id, webhook["id"])
    await transaction.rollback()


@pytest.mark.usefixtures("soon")
async def test_tries_again_under_the_same_id_until_it_is_taken(user: Person, receiver: Receiver) -> None:
    receiver.answer = lambda got: web.Response(status=500 if len(receiver.got) < 4 else 204)
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    got = await receiver.has(4)
    assert len({each.id for each in got}) == 1
    found = await attempted(user, webhook, 4)
    assert (found["status_code"], found["error"], found["next_attempt_at"]) == (204, None, None)
    assert (await body(await user.get(f"/api/webhooks/{webhook['id']}")))["failing_since"] is None


@pytest.mark.usefixtures("soon")
async def test_gives_up_after_eight_attempts(user: Person, receiver: Receiver, sql: asyncpg.Connection) -> None:
    receiver.answer = lambda got: web.Response(status=503)
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    found = await attempted(user, webhook, 8)
    assert (found["delivered_at"], found["next_attempt_at"], found["status_code"]) == (None, None, 503)
    jobs = "SELECT NOT EXISTS (SELECT FROM jobs WHERE user_id = $1)"
    await until(lambda: sql.fetchval(jobs, user.id), "the job to go")
    assert len(receiver.got) == 8
    now = await body(await user.get(f"/api/webhooks/{webhook['id']}"))
    assert now["failing_since"]
    assert now["is_active"]


def test_waits_as_long_as_the_contract_says(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [5, 300, 1800, 7200, 18000, 36000, 36000]
    for attempts, seconds in enumerate(expected, 1):
        waits = [courier.delay_after(attempts) or 0 for _ in range(50)]
        assert seconds <= min(waits) < max(waits) <= seconds * 1.2
    assert courier.delay_after(8) is None


async def test_a_failure_is_noted_with_the_next_attempt_and_the_whole_webhook_waits(
    user: Person, receiver: Receiver, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "DELAYS", (3600.0,) * 7)
    receiver.answer = lambda got: web.Response(status=500)
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    found = await attempted(user, webhook)
    assert found["error"] == "the answer was 500"
    assert found["next_attempt_at"]
    pause = "SELECT paused_until > now() AND lease IS NULL FROM lanes WHERE user_id = $1"
    await until(lambda: sql.fetchval(pause, user.id), "the lane to pause")
    await user.receive()
    assert await sql.fetchval("SELECT due > now() FROM lanes WHERE user_id = $1", user.id)
    # Whoever tries it does not want to wait.
    await nothing(await user.post(f"/api/webhooks/{webhook['id']}/test"), 202)
    assert (await receiver.has(2))[1].json["type"] == "ping"


async def test_410_turns_it_off(user: Person, receiver: Receiver, sql: asyncpg.Connection) -> None:
    go_on = asyncio.Event()

    async def gone(got: Got) -> web.Response:
        await go_on.wait()
        return web.Response(status=410)

    receiver.answer = gone
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    await receiver.has(1)
    await user.receive()
    go_on.set()

    async def off() -> dict[str, Any] | None:
        found = await body(await user.get(f"/api/webhooks/{webhook['id']}"))
        return None if found["is_active"] else dict(found)

    assert await until(off) == {
        **{name: value for name, value in webhook.items() if name != "secret"},
        "is_active": False,
        "failing_since": (await body(await user.get(f"/api/webhooks/{webhook['id']}")))["failing_since"],
        "disabled_reason": "The answer was 410: gone.",
    }
    assert await sql.fetchval("SELECT watch FROM inboxes WHERE user_id = $1", user.id) == 0
    assert [found["error"] for found in await deliveries(user, webhook)] == ["the answer was 410", "the webhook was turned off"]
    await user.receive("nobody is told")
    on = await body(await user.put(f"/api/webhooks/{webhook['id']}", json={"is_active": True}))
    assert (on["is_active"], on["failing_since"], on["disabled_reason"]) == (True, None, None)
    receiver.answer = lambda got: web.Response()
    await user.receive("told")
    assert (await receiver.has(2))[-1].message == "told"


@pytest.mark.usefixtures("soon")
async def test_five_days_of_failing_turn_it_off(user: Person, receiver: Receiver, sql: asyncpg.Connection) -> None:
    receiver.answer = lambda got: web.Response(status=500)
    webhook = await make_webhook(user, receiver.url)
    await sql.execute("UPDATE webhooks SET failing_since = now() - interval '5 days' WHERE id = $1", webhook["id"])
    await user.receive()
    reason = "SELECT disabled_reason FROM webhooks WHERE id = $1"
    found = await until(lambda: sql.fetchval(reason, webhook["id"]))
    assert "5 days" in found
    assert len(receiver.got) == 3


# What goes wrong


async def test_a_redirect_is_not_followed(user: Person, receiver: Receiver) -> None:
    receiver.answer = lambda got: web.Response(status=301, headers={"Location": f"{receiver.url}/elsewhere"})
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    found = await attempted(user, webhook)
    assert (found["status_code"], found["error"]) == (301, "the answer was 301: redirects are not followed")
    assert [got.path for got in receiver.got] == ["/hook"]


async def test_a_receiver_that_hangs_is_left(user: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "TOTAL_SECONDS", 0.3)
    receiver.answer = hanging
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    found = await attempted(user, webhook)
    assert (found["status_code"], found["error"]) == (None, "timed out")


async def test_nobody_listens(user: Person) -> None:
    webhook = await make_webhook(user, f"http://127.0.0.1:{free_port()}/")
    await user.receive()
    assert (await attempted(user, webhook))["error"] == "connection refused"


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", "the connection was closed without an answer"),
        (b"HTTP/1.1 200 O", "the connection was closed without an answer"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", None),
    ],
)
async def test_a_receiver_closes_half_way(user: Person, said: bytes, error: str | None) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async with listening(say) as port:
        webhook = await make_webhook(user, f"http://127.0.0.1:{port}/")
        await user.receive()
        assert (await attempted(user, webhook))["error"] == error


async def test_a_receiver_that_goes_on_and_on_before_its_answer_is_left(user: Person) -> None:
    sent = 0

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        while True:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)
            await writer.drain()
            sent += 2500

    async with listening(say) as port:
        webhook = await make_webhook(user, f"http://127.0.0.1:{port}/")
        await user.receive()
        assert (await attempted(user, webhook))["error"] == "the connection was closed without an answer"
    # What was taken in, and what the buffers of both ends hold.
    assert sent < 10_000_000


async def test_no_more_than_64_kib_of_an_answer_are_read(user: Person) -> None:
    sent = 0
    ended = asyncio.Event()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                await writer.drain()
                sent += 4096
        finally:
            ended.set()

    async with listening(say) as port:
        webhook = await make_webhook(user, f"http://127.0.0.1:{port}/")
        await user.receive()
        assert (await attempted(user, webhook))["error"] is None
        await asyncio.wait_for(ended.wait(), 10)
    # Beside what was read there is what the kernel and the two ends have buffered.
    assert sent < 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://hook.test/", "the address is not https"),
        ("https://127.0.0.1/", "the address is not public"),
    ],
)
async def test_nothing_is_sent_to_where_it_must_not_go(
    url: str, error: str, make_client: MakeClient, sql: asyncpg.Connection
) -> None:
    user = await make_person(await make_client(webhook_allow_private=False))
    webhook = await make_webhook(user, "https://hook.test/")
    # As one that was made when the server had other settings.
    await sql.execute("UPDATE webhooks SET url = $2 WHERE id = $1", webhook["id"], url)
    await user.receive()
    found = await attempted(user, webhook)
    assert (found["status_code"], found["error"]) == (None, error)


async def test_a_certificate_that_nobody_vouches_for(user: Person, tmp_path: Path) -> None:
    _, context = certificate(tmp_path)

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with listening(say, context) as port:
        webhook = await make_webhook(user, f"https://localhost:{port}/")
        await user.receive()
        assert (await attempted(user, webhook))["error"] == "certificate is not valid"


async def test_no_group_that_takes_long_is_agreed_on(trusted_tls: ssl.SSLContext, user: Person, tmp_path: Path) -> None:
    subprocess.run(["openssl", "dhparam", "-dsaparam", "-out", tmp_path / "dh.pem", "2048"], check=True, capture_output=True)
    trusted_tls.load_dh_params(str(tmp_path / "dh.pem"))
    trusted_tls.maximum_version = ssl.TLSVersion.TLSv1_2
    trusted_tls.set_ciphers("DHE+AESGCM")

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with listening(say, trusted_tls) as port:
        webhook = await make_webhook(user, f"https://localhost:{port}/")
        await user.receive()
        # The other side's alert may come before or after the end of the connection.
        assert (await attempted(user, webhook))["error"] in ("TLS failed", "the address cannot be reached")


async def test_https_asks_for_the_name(trusted_tls: ssl.SSLContext, user: Person) -> None:
    names: list[str | None] = []
    heads: list[bytes] = []
    trusted_tls.sni_callback = lambda _socket, name, _context: names.append(name)

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with listening(say, trusted_tls) as port:
        webhook = await make_webhook(user, f"https://localhost:{port}/a?b=c")
        await user.receive()
        assert (await attempted(user, webhook))["error"] is None
    assert names == ["localhost"]
    assert heads[0].startswith(b"POST /a?b=c HTTP/1.1\r\n")
    assert f"Host: localhost:{port}\r\n".encode() in heads[0]


async def test_proxies_of_the_environment_are_not_used(
    user: Person, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    await make_webhook(user, receiver.url)
    await user.receive()
    await receiver.has(1)


async def test_a_dead_endpoint_delays_no_other(
    user: Person, make_user: MakeUser, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "TOTAL_SECONDS", 25.0)
    other = await make_user()
    async with silence() as port:
        dead = [await make_webhook(user, f"http://127.0.0.1:{port}/") for _ in range(4)]
        await make_webhook(user, receiver.url)
        await make_webhook(other, receiver.url)
        for number in range(20):
            await asyncio.gather(user.receive(f"{number}"), other.receive(f"{number}"))
        await receiver.has(40)
        # All while the first attempts at the dead ones are under way.
        for webhook in dead:
            assert {each["attempts"] for each in await deliveries(user, webhook)} == {0}


async def test_a_webhook_works_on_one_delivery_at_a_time(user: Person) -> None:
    at_once = most = 0

    async def count(got: Got) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return web.Response()

    async with receiving(count) as receiver:
        await make_webhook(user, receiver.url)
        await asyncio.gather(*(user.receive() for _ in range(30)))
        await receiver.has(30)
    assert most == 1
