"""Limits on submissions, counted without a database, and in sum over processes where there is a Redis."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from fw.config import RATES, Config
from fw.database.pool import DATABASE
from fw.web.windows import MOST, OwnWindows, Reached, RedisWindows
from tests.conftest import MakeClient
from tests.support.people import Person, body, problem
from tests.support.redis import REDIS, redis_server

ALICE, BOB = "203.0.113.5", "198.51.100.7"
LIMITS = {name: RATES[name] for name in ("submission", "submission-inbox")}
RATES_HERE = {"name": (3, 60), "other": (1, 60)}
WINDOW = ("name", "subject")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def send(client: TestClient, to: str, address: str = ALICE, message: str = "Hello") -> ClientResponse:
    return await client.post(to, json={"message": message}, headers={"X-Forwarded-For": address})


@pytest.fixture
async def limited(make_client: MakeClient) -> TestClient:
    return await make_client(rate_limits=LIMITS, trusted_proxies=1)


@pytest.fixture
def inbox(user: Person) -> str:
    return f"/api/feedback/{user.username}"


async def refused(response: ClientResponse, name: str, count: int) -> None:
    await problem(response, 429, "too-many-requests")
    wait = int(response.headers["Retry-After"])
    assert 1 <= wait <= 60
    assert response.headers["RateLimit-Policy"] == f'"{name}";q={count};w=60'
    assert response.headers["RateLimit"] == f'"{name}";r=0;t={wait}'


async def test_ten_a_minute_reach_an_inbox(limited: TestClient, inbox: str) -> None:
    for left in range(9, -1, -1):
        response = await send(limited, inbox)
        assert response.status == 201
        # Who has used up half of it is told.
        if left <= 5:
            assert response.headers["RateLimit-Policy"] == '"submission-inbox";q=10;w=60'
            assert response.headers["RateLimit"].startswith(f'"submission-inbox";r={left};t=')
        else:
            assert "RateLimit" not in response.headers
    await refused(await send(limited, inbox), "submission-inbox", 10)
    await refused(await send(limited, inbox.upper().replace("/API/FEEDBACK", "/api/feedback")), "submission-inbox", 10)
    await body(await send(limited, inbox, BOB), 201)


async def test_sixty_a_minute_come_from_an_address(limited: TestClient, user: Person) -> None:
    for number in range(60):
        await problem(await send(limited, f"/api/feedback/nobody{number}"), 404, "not-found")
    await refused(await send(limited, f"/api/feedback/{user.username}"), "submission", 60)
    await body(await send(limited, f"/api/feedback/{user.username}", BOB), 201)


async def test_a_refused_submission_does_not_count(limited: TestClient, inbox: str) -> None:
    for _ in range(30):
        await send(limited, inbox)
    for number in range(50):
        await problem(await send(limited, f"/api/feedback/nobody{number}"), 404, "not-found")
    await refused(await send(limited, "/api/feedback/nobody"), "submission", 60)


async def test_widgets_lead_to_the_same_inbox(limited: TestClient, user: Person, inbox: str) -> None:
    widgets = [(await body(await user.post("/api/widgets", json={"name": "w", "type": "inline"}), 201))["id"] for _ in range(2)]
    for number in range(10):
        await body(await send(limited, f"/api/widgets/{widgets[number % 2]}/feedback" if number % 3 else inbox), 201)
    for path in (inbox, *(f"/api/widgets/{widget}/feedback" for widget in widgets)):
        await refused(await send(limited, path), "submission-inbox", 10)


async def test_a_refusal_takes_no_connection(
    limited: TestClient, user: Person, inbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    widget = (await body(await user.post("/api/widgets", json={"name": "w", "type": "inline"}), 201))["id"]
    for _ in range(10):
        await body(await send(limited, f"/api/widgets/{widget}/feedback"), 201)

    async def ask(*_: object) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(limited.app[DATABASE], "run", ask)
    for path in (f"/api/widgets/{widget}/feedback", inbox):
        await refused(await send(limited, path), "submission-inbox", 10)


async def test_a_network_of_ipv6_is_one_sender(limited: TestClient, inbox: str) -> None:
    for number in range(10):
        await body(await send(limited, inbox, f"2001:db8:1:2::{number}"), 201)
    await refused(await send(limited, inbox, "2001:db8:1:2:ffff::1"), "submission-inbox", 10)
    await body(await send(limited, inbox, "2001:db8:1:3::1"), 201)


async def test_what_a_sender_puts_left_of_the_proxy_is_not_believed(limited: TestClient, inbox: str) -> None:
    for number in range(10):
        await body(await send(limited, inbox, f"192.0.2.{number}, {ALICE}"), 201)
    await refused(await send(limited, inbox, f"192.0.2.99, {ALICE}"), "submission-inbox", 10)


async def test_a_page_may_read_why(limited: TestClient, inbox: str) -> None:
    for _ in range(10):
        await send(limited, inbox)
    response = await limited.post(
        inbox, json={"message": "Hello"}, headers={"X-Forwarded-For": ALICE, "Origin": "https://example.com"}
    )
    await refused(response, "submission-inbox", 10)
    assert response.headers["Access-Control-Allow-Origin"] == "https://example.com"
    exposed = response.headers["Access-Control-Expose-Headers"]
    assert all(name in exposed for name in ("RateLimit", "RateLimit-Policy", "Retry-After"))


async def test_says_nothing_of_limits_where_they_are_off(client: TestClient, user: Person, inbox: str) -> None:
    for _ in range(12):
        response = await client.post(inbox, json={"message": "Hello"})
        assert response.status == 201
    assert not {"RateLimit", "RateLimit-Policy"} & response.headers.keys()


def test_a_window_ends() -> None:
    clock = Clock()
    windows = OwnWindows(clock)
    assert [windows.take([WINDOW], RATES_HERE)[0] for _ in range(3)] == [2, 1, 0]
    clock.now += 59.5
    with pytest.raises(Reached) as reached:
        windows.take([WINDOW], RATES_HERE)
    assert (reached.value.name, reached.value.seconds) == ("name", 1)
    clock.now += 0.5
    assert windows.take([WINDOW], RATES_HERE) == (2, 60, "name")


def test_windows_are_bounded() -> None:
    clock = Clock()
    windows = OwnWindows(clock)
    for number in range(MOST + 1):
        windows.take([("other", f"{number}")], RATES_HERE)
    assert len(windows) <= MOST
    with pytest.raises(Reached):
        windows.take([("other", f"{MOST - 1}")], RATES_HERE)
    clock.now += 60
    for number in range(MOST):
        windows.take([("other", f"new {number}")], RATES_HERE)
    assert len(windows) <= MOST


@pytest.fixture
async def both(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[RedisWindows, RedisWindows]]:
    """What two processes count with."""
    if REDIS is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    # On a busy machine a burst takes longer than a request would wait.
    monkeypatch.setattr("fw.web.windows.REDIS_SECONDS", 30.0)
    with redis_server(tmp_path) as url:
        one, other = (RedisWindows(replace(config, redis_url=url)) for _ in range(2))
        yield one, other
        await one.close()
        await other.close()


async def test_processes_count_together_in_redis(both: tuple[RedisWindows, RedisWindows]) -> None:
    one, other = both
    rates = {"one": (20, 60), "other": (30, 60)}
    subjects = [("one", "subject"), ("other", "subject"), ("unlimited", "subject")]
    found = await asyncio.gather(*((one, other)[n % 2].take(subjects, rates) for n in range(40)), return_exceptions=True)
    assert sum(isinstance(result, tuple) for result in found) == 20
    refusals = [result for result in found if isinstance(result, Reached)]
    assert len(refusals) == 20
    assert {refusal.name for refusal in refusals} == {"one"}
    # Nothing of those that were refused was counted.
    assert (await one.take(subjects[1:], rates))[0] == 9


@pytest.mark.parametrize(
    "answer", [b"OK", [], [0], [0, "x", "y"], [0, None, None], [99, 5], [0, 1, 2**62], [0, -5, 10], None, [1]]
)
async def test_each_process_counts_if_redis_answers_nonsense(config: Config, answer: Any) -> None:
    windows = RedisWindows(replace(config, redis_url="redis://127.0.0.1:1"))

    async def script(**asked: Any) -> Any:
        return answer

    windows._script = script
    assert [(await windows.take([WINDOW], RATES_HERE))[0] for _ in range(3)] == [2, 1, 0]
    await windows.close()


async def test_each_process_counts_while_redis_is_away(config: Config) -> None:
    windows = RedisWindows(replace(config, redis_url="redis://127.0.0.1:1"))
    assert [(await windows.take([WINDOW], RATES_HERE))[0] for _ in range(3)] == [2, 1, 0]
    with pytest.raises(Reached):
        await windows.take([WINDOW], RATES_HERE)
    await windows.close()
