"""Client addresses: whose request it is, what limits count by, and what is kept."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from aiohttp import ClientSession, UnixConnector, web
from aiohttp.test_utils import TestClient

from fw.web.address import bucket, client_address, parse, stored_part

Ask = Callable[..., Awaitable[str]]


def tell(trusted_proxies: int) -> web.Application:
    """Make a server that says whom it takes its caller for."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=str(client_address(request, trusted_proxies)))

    app = web.Application()
    app.router.add_get("/", answer)
    return app


@pytest.fixture
def ask(aiohttp_client: Any) -> Ask:
    """Ask such a server, with a line of X-Forwarded-For for each text."""

    async def make(trusted_proxies: int, *lines: str) -> str:
        client: TestClient = await aiohttp_client(tell(trusted_proxies))
        response = await client.get("/", headers=[("X-Forwarded-For", line) for line in lines])
        return await response.text()

    return make


@pytest.mark.parametrize("lines", [(), ("192.0.2.1",), ("192.0.2.1, 192.0.2.2",), ("192.0.2.1", "192.0.2.2")])
async def test_without_proxies_it_is_the_peer(ask: Ask, lines: tuple[str, ...]) -> None:
    assert await ask(0, *lines) == "127.0.0.1"


@pytest.mark.parametrize(
    ("trusted_proxies", "lines", "expected"),
    [
        (1, ("192.0.2.1",), "192.0.2.1"),
        (1, ("192.0.2.1, 192.0.2.2",), "192.0.2.2"),
        (1, ("192.0.2.1,192.0.2.2",), "192.0.2.2"),
        (1, ("192.0.2.1", "192.0.2.2"), "192.0.2.2"),
        (1, ("nonsense, 192.0.2.2",), "192.0.2.2"),
        (1, ("  2001:db8::1  ",), "2001:db8::1"),
        (1, ("::ffff:192.0.2.1",), "192.0.2.1"),
        (1, ("192.0.2.1:4711",), "192.0.2.1"),
        (1, ("[2001:db8::1]:4711",), "2001:db8::1"),
        (1, ("[2001:db8::1]",), "2001:db8::1"),
        (1, ("2001:db8::1:4711",), "2001:db8::1:4711"),
        (1, ("192.0.2.1:x",), "127.0.0.1"),
        (2, ("192.0.2.1, 192.0.2.2",), "192.0.2.1"),
        (2, ("192.0.2.1, 192.0.2.2, 192.0.2.3",), "192.0.2.2"),
        (2, ("192.0.2.1, 192.0.2.2", "192.0.2.3"), "192.0.2.2"),
        (3, ("192.0.2.1", "192.0.2.2", "192.0.2.3"), "192.0.2.1"),
    ],
)
async def test_behind_proxies_it_is_the_nth_from_the_right(
    ask: Ask, trusted_proxies: int, lines: tuple[str, ...], expected: str
) -> None:
    assert await ask(trusted_proxies, *lines) == expected


@pytest.mark.parametrize(
    ("trusted_proxies", "lines"),
    [
        (1, ()),
        (1, ("",)),
        (1, ("nonsense",)),
        (1, ("192.0.2.1, nonsense",)),
        (1, ("192.0.2.1,",)),
        (1, ("unknown",)),
        (1, ("192.0.2.1;",)),
        (1, ("192.0.02.1",)),
        (1, ("192.0.2",)),
        (1, ("3221225985",)),
        (1, ("192.0.2.0/24",)),
        (2, ("192.0.2.1",)),
        (3, ("192.0.2.1", "192.0.2.2")),
    ],
)
async def test_junk_and_missing_entries_are_the_peers(ask: Ask, trusted_proxies: int, lines: tuple[str, ...]) -> None:
    assert await ask(trusted_proxies, *lines) == "127.0.0.1"


@pytest.mark.parametrize(("trusted_proxies", "expected"), [(0, "None"), (1, "192.0.2.1")])
async def test_a_unix_socket_has_no_address(tmp_path: Path, trusted_proxies: int, expected: str) -> None:
    runner = web.AppRunner(tell(trusted_proxies))
    await runner.setup()
    try:
        await web.UnixSite(runner, tmp_path / "s").start()
        async with ClientSession(connector=UnixConnector(str(tmp_path / "s"))) as session:
            response = await session.get("http://localhost/", headers={"X-Forwarded-For": "192.0.2.1"})
            assert await response.text() == expected
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:C000:201", "192.0.2.1"),
    ],
)
def test_reads_an_address(text: str, expected: str) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "x", "1", "256.1.1.1", "192.0.2.1\n1", "::g", "1::2::3", "１92.0.2.1", "\ud800", "\0"]
)
def test_reads_nothing_else(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_limits_count_by_address_or_by_64_bits_of_it(text: str, expected: str) -> None:
    assert bucket(parse(text)) == expected


def test_limits_count_what_has_no_address_together() -> None:
    assert bucket(None) == bucket(None)


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("192.0.2.123", "truncated", "192.0.2.0"),
        ("192.0.2.123", "full", "192.0.2.123"),
        ("192.0.2.123", "none", None),
        ("2001:db8:1:2:3:4:5:6", "truncated", "2001:db8:1::"),
        ("2001:db8:1:2:3:4:5:6", "full", "2001:db8:1:2:3:4:5:6"),
        ("2001:db8:1:2:3:4:5:6", "none", None),
        ("::ffff:192.0.2.123", "truncated", "192.0.2.0"),
        ("fe80::1%eth0", "full", "fe80::1"),
    ],
)
def test_keeps_what_the_mode_says(text: str, mode: Literal["truncated", "full", "none"], expected: str | None) -> None:
    assert stored_part(parse(text), mode) == expected


@pytest.mark.parametrize("mode", ["truncated", "full", "none"])
def test_keeps_nothing_where_there_is_no_address(mode: Literal["truncated", "full", "none"]) -> None:
    assert stored_part(None, mode) is None
