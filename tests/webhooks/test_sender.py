"""The process that sends webhooks: what receivers do to it stops nobody else, and it knows nothing that it does not need."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
import psutil
import pytest
from aiohttp import web

from fw.webhooks.outcome import LOST, TOO_SLOW_TLS, Outcome
from fw.webhooks.sender import PROGRAM, Interrupted, Lost, Sender, StoodStill
from fw.webhooks.sender_process import tls_context
from tests.conftest import MakeUser
from tests.support.hostile_tls import HELLO_REQUESTS, with_certificates
from tests.support.people import Person, body
from tests.support.receiver import Receiver, attempted, hanging, make_webhook, receiving
from tests.support.servers import listening, silence
from tests.support.waiting import until

HEADERS = {"webhook-id": "1"}


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender(allow_private=True) as sender:
        yield sender


def processes() -> list[psutil.Process]:
    """Return the processes of this test's senders."""
    return [child for child in psutil.Process().children() if PROGRAM in child.cmdline()]


def process() -> psutil.Process:
    """Return the process of the one sender of this test."""
    [found] = processes()
    return found


async def is_turned_off(sql: asyncpg.Connection, webhook: Mapping[str, Any]) -> None:
    async def is_off() -> bool:
        return not await sql.fetchval("SELECT is_active FROM webhooks WHERE id = $1", webhook["id"])

    await until(is_off, "the webhook to be turned off", seconds=30)


async def test_sends_what_it_is_told_to(sender: Sender, receiver: Receiver) -> None:
    outcomes = await asyncio.gather(
        *(sender.send(f"{receiver.url}/{n}", HEADERS, f"body ü {n}".encode(), 5) for n in range(20))
    )
    assert set(outcomes) == {Outcome(200, "")}
    got = {got.path.rpartition("/")[2]: got for got in receiver.got}
    assert len(got) == 20
    assert got["7"].body == "body ü 7".encode()
    assert got["7"].headers["webhook-id"] == "1"


async def test_connects_to_no_private_address_unless_it_may(receiver: Receiver) -> None:
    async with Sender(allow_private=False) as sender:
        # The last one is a name, which leads here when something is to be sent.
        for url in (receiver.url, "http://[::1]:1/", receiver.url.replace("127.0.0.1", "localhost")):
            assert await sender.send(url, HEADERS, b"", 5) == Outcome(None, "the address is not public")
    assert not receiver.got


async def test_an_attempt_has_its_time(sender: Sender) -> None:
    async with silence() as port:
        assert await sender.send(f"http://127.0.0.1:{port}/", HEADERS, b"", 0.2) == Outcome(None, "timed out")


async def test_knows_no_secret_of_the_service(sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:secret@host/")
    monkeypatch.setenv("FW_JWT_SECRET", "a secret")
    await sender.send(receiver.url, HEADERS, b"", 5)
    assert not {"DATABASE_URL", "FW_JWT_SECRET"} & process().environ().keys()


async def test_ends_with_the_service(receiver: Receiver) -> None:
    async with Sender(allow_private=True) as sender:
        await sender.send(receiver.url, HEADERS, b"", 5)
        found = process()
        receiver.answer = hanging
        attempt = asyncio.create_task(sender.send(receiver.url, HEADERS, b"", 15))
        await receiver.has(2)
    with pytest.raises(Lost):
        await attempt
    assert not found.is_running()


async def test_is_started_again_if_it_is_killed(sender: Sender, receiver: Receiver) -> None:
    receiver.answer = hanging
    attempt = asyncio.create_task(sender.send(receiver.url, HEADERS, b"", 15))
    await receiver.has(1)
    process().kill()
    with pytest.raises(Lost):
        await attempt
    receiver.answer = lambda got: web.Response()
    assert await sender.send(receiver.url, HEADERS, b"", 5) == Outcome(200, "")


async def test_a_handshake_that_takes_a_processor_for_itself_ends_it(sender: Sender) -> None:
    async with listening(with_certificates(150)) as port:
        with pytest.raises(StoodStill):
            await sender.send(f"https://localhost:{port}/", HEADERS, b"", 15)


async def test_a_handshake_that_takes_much_of_a_processor_is_given_up(sender: Sender) -> None:
    async with listening(with_certificates(1)) as port:
        assert await sender.send(f"https://localhost:{port}/", HEADERS, b"", 15) == TOO_SLOW_TLS


async def test_costly_handshakes_that_come_together_do_not_end_it(sender: Sender, receiver: Receiver) -> None:
    async with listening(with_certificates(1, together=16)) as port:
        url = f"https://localhost:{port}/"
        attempts = [asyncio.create_task(sender.send(url, HEADERS, b"", 30)) for _ in range(16)]
        assert await sender.send(receiver.url, HEADERS, b"", 30) == Outcome(200, "")
        assert set(await asyncio.gather(*attempts)) == {TOO_SLOW_TLS}


def test_makes_one_handshake_a_connection() -> None:
    # A second one could be as hostile, after the first one was a good one.
    assert tls_context().options & ssl.OP_NO_RENEGOTIATION


async def test_a_handshake_without_end_is_cut_off(sender: Sender) -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(4096)
        while True:
            writer.write(HELLO_REQUESTS)
            await writer.drain()
            sent += len(HELLO_REQUESTS)

    async with listening(talk) as port:
        outcome = await sender.send(f"https://localhost:{port}/", HEADERS, b"", 15)
    assert outcome.error in ("the connection was closed without an answer", "the address cannot be reached", "TLS failed")
    # The kernel holds some megabytes of them.
    assert sent < 20_000_000


async def test_costly_webhooks_wait_for_each_other_alone(
    user: Person, make_user: MakeUser, receiver: Receiver, sql: asyncpg.Connection
) -> None:
    other = await make_user()
    async with listening(with_certificates(1)) as port, silence() as silent_port:
        costly = await make_webhook(user, f"https://localhost:{port}/")
        await user.receive("x")
        await is_turned_off(sql, costly)
        asked = {"is_active": True, "url": f"https://localhost:{silent_port}/"}
        await body(await user.put(f"/api/webhooks/{costly['id']}", json=asked))
        await user.receive("y")

        async def is_apart() -> bool:
            return len(processes()) == 2

        await until(is_apart, "a second process to send what is costly")
        await make_webhook(other, receiver.url)
        await other.receive("z")
        await receiver.has(1)


async def test_new_webhooks_do_not_stop_the_sender_of_proven_ones(
    user: Person, make_user: MakeUser, receiver: Receiver, sql: asyncpg.Connection
) -> None:
    other = await make_user()
    await make_webhook(other, receiver.url)
    await other.receive("first")
    await receiver.has(1)
    [newcomers] = processes()
    await other.receive("second")
    await receiver.has(2)
    [proven] = set(processes()) - {newcomers}
    receiver.answer = hanging
    await other.receive("third")
    await receiver.has(3)
    async with listening(with_certificates(150)) as port:
        hostile = await make_webhook(user, f"https://localhost:{port}/")
        await user.receive("x")
        await is_turned_off(sql, hostile)
    assert proven.is_running()
    assert not newcomers.is_running()


async def test_the_attempt_that_stops_the_sender_is_known(sender: Sender, receiver: Receiver) -> None:
    async with listening(with_certificates(150)) as port, silence() as silent_port, receiving(hanging) as slow:
        # One is under way, one is not connected yet: its receiver says nothing to the beginning of TLS.
        connected = asyncio.create_task(sender.send(slow.url, HEADERS, b"", 15))
        await slow.has(1)
        early = asyncio.create_task(sender.send(f"https://localhost:{silent_port}/", HEADERS, b"", 15))
        with pytest.raises(StoodStill):
            await sender.send(f"https://localhost:{port}/", HEADERS, b"", 15)
        with pytest.raises(Interrupted):
            await early
        with pytest.raises(Lost):
            await connected


async def test_an_attempt_that_ends_the_sender_counts(user: Person, receiver: Receiver) -> None:
    receiver.answer = hanging
    webhook = await make_webhook(user, receiver.url)
    await user.receive()
    await receiver.has(1)
    process().kill()
    found = await attempted(user, webhook)
    assert (found["attempts"], found["error"]) == (1, LOST.error)


async def test_a_webhook_that_stops_the_sender_is_turned_off_and_no_other_one_is(
    user: Person, make_user: MakeUser, receiver: Receiver, sql: asyncpg.Connection
) -> None:
    other = await make_user()
    async with listening(with_certificates(150)) as port, receiving(hanging) as slow:
        # This one is under way when the sender ends.
        await make_webhook(other, slow.url)
        await other.receive("before")
        await slow.has(1)
        slow.answer = lambda got: web.Response()
        hostile = await make_webhook(user, f"https://localhost:{port}/")
        await user.receive("x")
        await is_turned_off(sql, hostile)
        await slow.has(2)
        await make_webhook(other, receiver.url)
        await other.receive("after")
        await receiver.has(1)
    reason = await sql.fetchval("SELECT disabled_reason FROM webhooks WHERE id = $1", hostile["id"])
    assert reason == "Its TLS handshake takes too much of a processor's time."
    assert await sql.fetchval("SELECT count(*) FROM webhooks WHERE is_active AND user_id = $1", other.id) == 2
