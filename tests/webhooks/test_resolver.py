"""Names are looked up once, and connections are made to what was checked."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import ClientConnectorDNSError, ClientConnectorError, ClientSession, InvalidUrlClientError, web

from fw.webhooks import resolver
from fw.webhooks.resolver import NotPublic, NotResolved, Resolver
from fw.webhooks.session import open_session
from tests.support.receiver import Receiver
from tests.support.waiting import until

Answers = Callable[..., list[str]]


def answer(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have each look-up of a name answered with these addresses, the next time with the next ones; return what is asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *rest: Any, **options: Any) -> list[Any]:
        if not str(host).endswith(".test"):
            return real(host, port, *rest, **options)
        asked.append(host)
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in answers[min(len(asked), len(answers)) - 1]
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.fixture
async def strict() -> AsyncIterator[ClientSession]:
    session = open_session(True, False, "test")
    yield session
    await session.close()


@pytest.fixture
async def open_minded() -> AsyncIterator[ClientSession]:
    session = open_session(True, True, "test")
    yield session
    await session.close()


@pytest.mark.parametrize(
    "addresses",
    [
        *(["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["::1"], ["fe80::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"]),
        *(["2002:7f00:1::"], ["224.0.0.1"], ["0.0.0.0"], ["fd00::1"], ["100.64.0.1"]),
        # One bad address among good ones
        *(["8.8.8.8", "127.0.0.1"], ["2606:4700:4700::1111", "10.0.0.1"], ["8.8.8.8", "::1"]),
    ],
)
async def test_a_name_that_leads_to_a_private_address_is_refused(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch, strict: ClientSession
) -> None:
    answer(monkeypatch, addresses)
    with pytest.raises(ClientConnectorDNSError) as caught:
        await strict.post("https://hook.test/")
    assert isinstance(caught.value.os_error, NotPublic)


async def test_of_thousands_of_addresses_only_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, [f"8.8.{n // 256}.{n % 256}" for n in range(6000)])
    assert len(await Resolver(allow_private=False).resolve("hook.test")) == 20


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "10.0.0.1", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433.", "0177.0.0.1", "localhost"]
)
async def test_an_address_that_gets_here_is_refused_too(host: str, strict: ClientSession) -> None:
    with pytest.raises((ClientConnectorError, InvalidUrlClientError)) as caught:
        await strict.post(f"https://{host}/")
    assert isinstance(caught.value, InvalidUrlClientError) or isinstance(caught.value.os_error, NotPublic)


async def test_a_name_is_looked_up_once_and_connected_to_as_checked(
    monkeypatch: pytest.MonkeyPatch, strict: ClientSession
) -> None:
    # The second answer is what an attacker would have the connection made to.
    asked = answer(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    tried: list[tuple[str, int]] = []

    async def connect(loop: Any, sock: socket.socket, address: tuple[str, int]) -> None:
        tried.append(address[:2])
        raise ConnectionRefusedError

    monkeypatch.setattr(type(asyncio.get_running_loop()), "sock_connect", connect)
    with pytest.raises(ClientConnectorError):
        await strict.post("https://hook.test:8443/")
    assert (asked, tried) == (["hook.test"], [("93.184.216.34", 8443)])


async def test_each_attempt_looks_the_name_up_anew(
    monkeypatch: pytest.MonkeyPatch, strict: ClientSession, open_minded: ClientSession, receiver: Receiver
) -> None:
    asked = answer(monkeypatch, ["127.0.0.1"])
    port = receiver.url.split(":")[2].split("/")[0]
    for _ in range(2):
        async with open_minded.post(f"http://hook.test:{port}/") as response:
            assert response.status == 200
    assert len(asked) == 2
    assert receiver.got[0].headers["host"] == f"hook.test:{port}"
    with pytest.raises(ClientConnectorDNSError):
        await strict.post(f"http://hook.test:{port}/")
    assert len(receiver.got) == 2


async def test_no_cookies_are_kept(open_minded: ClientSession, receiver: Receiver) -> None:
    receiver.answer = lambda got: web.Response(headers={"Set-Cookie": "a=b"})
    for _ in range(2):
        async with open_minded.post(receiver.url):
            pass
    assert "cookie" not in receiver.got[1].headers


async def test_a_name_that_nobody_answers_for_takes_no_others_time(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    real = socket.getaddrinfo

    def look_up(host: str, *rest: Any, **options: Any) -> Any:
        if host == "silent.test":
            go_on.wait()
        return real("93.184.216.34", *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    found = Resolver(allow_private=False)
    monkeypatch.setattr(resolver, "RESOLVE_SECONDS", 0.1)
    silent = [asyncio.create_task(found.resolve("silent.test", 443)) for _ in range(50)]
    await asyncio.sleep(0)
    monkeypatch.undo()
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert [each["host"] for each in await found.resolve("hook.test", 443)] == ["93.184.216.34"]
    results = await asyncio.gather(*silent, return_exceptions=True)
    assert {type(result) for result in results} == {NotResolved}
    # For a while it is not asked for again: each time would take a place until the system gives up.
    threads = threading.active_count()
    with pytest.raises(NotResolved):
        await found.resolve("silent.test", 443)
    assert threading.active_count() == threads
    assert await found.resolve("hook.test", 443)
    go_on.set()

    async def ended() -> bool:
        return not any(thread.name == "webhook name" for thread in threading.enumerate())

    await until(ended, "the look-ups to end")
    # Their places are free again.
    assert await asyncio.gather(*(found.resolve("hook.test", 443) for _ in range(resolver.LOOKUPS_AT_ONCE)))


async def test_a_name_without_an_address(strict: ClientSession) -> None:
    with pytest.raises(ClientConnectorDNSError):
        await strict.post("https://name.invalid/")
