"""Who gets a connection next: everybody in turn, however much each of them asks for."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw.database.pool import DATABASE
from fw.database.rotation import ASKER, Kind, Rotation
from tests.conftest import MakeClient, MakeUser
from tests.support.waiting import until

Call = Callable[[], Coroutine[Any, Any, None]]


async def ask(turns: Rotation, asker: str, served: list[str]) -> None:
    """Take a turn: as an address by a small letter, as an account by a capital one, and for itself by "0"."""
    kind = Kind.OWN if asker == "0" else Kind.SIGNED_IN if asker.isupper() else Kind.ANYBODY
    ASKER.set(lambda: (kind, asker))
    await turns.take()
    served.append(asker)
    turns.give_back()


async def begin(turns: Rotation, askers: str, served: list[str]) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(ask(turns, asker, served)) for asker in askers]
    await asyncio.sleep(0)
    return tasks


async def test_serves_askers_in_rotation_and_each_ones_requests_in_their_order() -> None:
    turns, served = Rotation(1), list[str]()
    await turns.take()
    tasks = await begin(turns, "aaaabcbd", served)
    turns.give_back()
    await asyncio.gather(*tasks)
    assert "".join(served) == "abcdabaa"
    assert not turns.are_taken


async def test_kinds_take_turns_too_however_many_addresses_ask() -> None:
    turns, served = Rotation(1), list[str]()
    await turns.take()
    tasks = await begin(turns, "abcdefgABA00", served)
    turns.give_back()
    await asyncio.gather(*tasks)
    assert "".join(served) == "aA0bB0cAdefg"


async def test_gives_as_many_turns_at_once_as_it_has() -> None:
    turns, served = Rotation(2), list[str]()
    for _ in range(2):
        assert not turns.are_taken
        await turns.take()
    assert turns.are_taken
    tasks = await begin(turns, "ab", served)
    assert not served
    turns.give_back()
    turns.give_back()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("is_handed_over", [False, True])
async def test_a_turn_is_not_lost_with_a_request_that_gives_up(*, is_handed_over: bool) -> None:
    turns, served = Rotation(1), list[str]()
    await turns.take()
    leaving, staying = await begin(turns, "ab", served)
    if is_handed_over:
        turns.give_back()
        leaving.cancel()
    else:
        leaving.cancel()
        await asyncio.sleep(0)
        turns.give_back()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await staying
    assert served == ["b"]
    assert not turns.are_taken
    assert not turns._lines


async def line_up(
    client: TestClient, sql: asyncpg.Connection, visits: Sequence[Call], call: Call, kind: Kind, least: int
) -> None:
    """Have a call ask behind many visits for the one connection, with so many statements of this kind; then let them all go."""
    turns: Rotation = client.app[DATABASE]._turns  # type: ignore[index]

    def waiting(kind: Kind) -> int:
        return sum(map(len, turns._lines.get(kind, {}).values()))

    async def one_runs() -> bool:
        return turns.are_taken

    async def all_wait() -> bool:
        # The program's own work may wait too.
        return waiting(Kind.ANYBODY) == len(visits) - 1 and waiting(kind) >= least

    async with sql.transaction():
        await sql.execute("LOCK TABLE users")
        calls = [asyncio.create_task(visits[0]())]
        await until(one_runs)
        calls += [asyncio.create_task(begin()) for begin in (*visits[1:], call)]
        await until(all_wait)
    await asyncio.gather(*calls)


async def test_the_many_calls_of_one_do_not_hold_up_those_of_another(
    make_client: MakeClient, make_user: MakeUser, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine it takes a while until all calls wait.
    monkeypatch.setattr("fw.database.pool.USUAL_SECONDS", 60.0)
    client: TestClient = await make_client(db_pool=1)
    user = await make_user(client=client)
    answered: list[str] = []

    async def visit() -> None:
        assert (await client.get(f"/api/users/{user.username}")).status == 200
        answered.append("visit")

    async def read() -> None:
        await user.inbox()
        answered.append("read")

    await line_up(client, sql, [visit] * 21, read, Kind.SIGNED_IN, 1)
    # A call may run two or three statements, and others are answered between them.
    assert answered.index("read") < 8


async def test_readiness_does_not_wait_for_visitors(
    make_client: MakeClient, make_user: MakeUser, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.database.pool.USUAL_SECONDS", 60.0)
    monkeypatch.setattr("fw.telemetry.health.READY_SECONDS", 60.0)
    client: TestClient = await make_client(db_pool=1, trusted_proxies=1)
    user = await make_user(client=client)
    answered: list[str] = []

    async def visit(number: int) -> None:
        headers = {"X-Forwarded-For": f"192.0.2.{number}"}
        assert (await client.get(f"/api/users/{user.username}", headers=headers)).status == 200
        answered.append("visit")

    async def look() -> None:
        assert (await client.get("/health/ready")).status == 200
        answered.append("ready")

    await line_up(client, sql, [partial(visit, number) for number in range(21)], look, Kind.OWN, 2)
    assert answered.index("ready") < 8
