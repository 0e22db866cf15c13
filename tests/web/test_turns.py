"""Turns: what one user may have under way at once."""

import asyncio

import pytest

from fw.errors import TooManyRequests
from fw.web import turns
from fw.web.turns import LONG_TURNS, TURNS, Turns
from tests.conftest import MakeClient, MakeUser
from tests.support.people import body, problem
from tests.support.waiting import until


async def test_gives_so_many_and_has_the_next_wait_in_line() -> None:
    line, order = Turns("tests", 2), list[int]()
    for _ in range(2):
        await line.take("me")

    async def take(number: int) -> None:
        await line.take("me")
        order.append(number)

    tasks = [asyncio.create_task(take(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert order == []
    for _ in tasks:
        line.give_back("me")
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    for _ in range(2):
        line.give_back("me")
    assert not line._lines


async def test_one_user_does_not_wait_for_another() -> None:
    line = Turns("tests", 1)
    await line.take("me")
    async with asyncio.timeout(1), line.turn("you"):
        pass


async def test_refuses_who_has_waited_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.01)
    line = Turns("tests", 1)
    await line.take("me")
    with pytest.raises(TooManyRequests) as refused:
        await line.take("me")
    assert refused.value.headers == {
        "Retry-After": "1",
        "RateLimit-Policy": '"tests";q=1',
        "RateLimit": '"tests";r=0;t=1',
    }
    line.give_back("me")
    await line.take("me")


async def test_whoever_leaves_the_line_takes_no_turn_along() -> None:
    line = Turns("tests", 1)
    await line.take("me")
    gone, late = asyncio.create_task(line.take("me")), asyncio.create_task(line.take("me"))
    await asyncio.sleep(0)
    gone.cancel()
    line.give_back("me")
    await late
    # One that is cancelled in the moment in which it is handed the turn hands it on.
    other = asyncio.create_task(line.take("me"))
    await asyncio.sleep(0)
    line.give_back("me")
    other.cancel()
    await asyncio.gather(gone, other, return_exceptions=True)
    async with asyncio.timeout(1):
        await line.take("me")


async def test_a_turn_that_is_paused_is_somebody_elses_meanwhile() -> None:
    line = Turns("tests", 1)
    async with line.turn("me"), line.pause("me"), asyncio.timeout(1), line.turn("me"):
        pass
    assert not line._lines


async def test_a_pause_that_ends_without_a_turn_makes_no_more_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.01)
    line = Turns("tests", 1)

    async def pause() -> None:
        async with line.turn("me"), line.pause("me"):
            await may_return.wait()

    may_return = asyncio.Event()
    paused = [asyncio.create_task(pause()) for _ in range(5)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await line.take("me")
    may_return.set()
    results = await asyncio.gather(*paused, return_exceptions=True)
    assert [type(result) for result in results] == [TooManyRequests] * 5
    with pytest.raises(TooManyRequests):
        await line.take("me")
    line.give_back("me")
    assert not line._lines


async def test_requests_of_a_busy_account_wait_and_others_do_not(
    make_client: MakeClient, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.2)
    client = await make_client(db_pool=3)
    busy, other = await make_user(client=client), await make_user(client=client)
    await client.app[TURNS].take(busy.id)  # type: ignore[index]
    found = await problem(await busy.get("/api/auth/me"), 429, "too-many-requests")
    assert "under way" in found["detail"]
    await body(await other.get("/api/auth/me"))
    client.app[TURNS].give_back(busy.id)  # type: ignore[index]
    await body(await busy.get("/api/auth/me"))


async def test_searches_of_one_user_run_two_at_a_time(
    make_client: MakeClient, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.2)
    client = await make_client()
    user, other = await make_user(client=client), await make_user(client=client)
    searches = client.app[LONG_TURNS]  # type: ignore[index]
    for _ in range(2):
        await searches.take(user.id)
    await problem(await user.get("/api/feedback", params={"q": "x"}), 429, "too-many-requests")
    await body(await user.get("/api/feedback"))
    await body(await other.get("/api/feedback", params={"q": "x"}))
    waiting = asyncio.create_task(user.get("/api/feedback", params={"q": "x"}))

    async def waits() -> bool:
        return bool(searches._lines[user.id].waiting)

    await until(waits)
    searches.give_back(user.id)
    await body(await waiting)
