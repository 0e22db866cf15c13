"""How many readers a user may have: sockets and waiting polls together, over all processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import ClientWebSocketResponse, WSServerHandshakeError
from aiohttp.test_utils import TestClient

from fw.background import Background
from fw.config import Config
from fw.database.pool import Database
from fw.database.statements import statements
from fw.errors import TooManyRequests, Unavailable
from fw.inbox import readers
from fw.inbox.hub import HUB
from fw.inbox.readers import Readers
from tests.conftest import MakeClient
from tests.support.live import close_code, connect, event
from tests.support.people import Person, body, problem
from tests.support.polls import poll
from tests.support.waiting import someone_waits_for, until


@pytest.fixture
async def processes(config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Readers]]:
    """Two processes that share the places of their users, and refuse at once."""
    monkeypatch.setattr(readers, "PATIENCE_SECONDS", 0.0)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(config))
        yield [await stack.enter_async_context(Readers(database, Background())) for _ in range(2)]


async def refused(process: Readers, user_id: str) -> bool:
    try:
        await process.take(user_id)
    except TooManyRequests:
        return True
    process.give_back(user_id)
    return False


async def leased(sql: asyncpg.Connection, user_id: str) -> int:
    return int(await sql.fetchval("SELECT coalesce(sum(places), 0) FROM reader_places WHERE user_id = $1", user_id))


async def test_counts_over_processes(processes: list[Readers]) -> None:
    user_id = str(uuid4())
    for number in range(20):
        await processes[number % 2].take(user_id)
    assert [await refused(process, user_id) for process in processes] == [True, True]
    assert not await refused(processes[0], str(uuid4()))


async def test_racers_get_no_place_too_many(processes: list[Readers], sql: asyncpg.Connection) -> None:
    user_id = str(uuid4())
    takes = [process.take(user_id) for process in processes for _ in range(30)]
    results = await asyncio.gather(*takes, return_exceptions=True)
    assert results.count(None) == 20
    assert sum(isinstance(result, TooManyRequests) for result in results) == 40
    assert await leased(sql, user_id) == 20


async def test_a_place_given_back_is_anothers_soon(processes: list[Readers], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "PATIENCE_SECONDS", 10.0)
    user_id = str(uuid4())
    for _ in range(20):
        await processes[0].take(user_id)
    waiting = asyncio.create_task(processes[1].take(user_id))
    processes[0].give_back(user_id)
    await waiting


async def test_a_reader_that_comes_again_at_once_costs_no_statement(
    processes: list[Readers], sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = str(uuid4())
    await processes[0].take(user_id)
    with monkeypatch.context() as patched:
        patched.setattr(processes[0], "_database", None)
        for _ in range(5):
            processes[0].give_back(user_id)
            await processes[0].take(user_id)
    assert await leased(sql, user_id) == 1


async def test_places_of_a_process_that_was_killed_count_no_more(processes: list[Readers], sql: asyncpg.Connection) -> None:
    user_id = str(uuid4())
    for _ in range(20):
        await processes[0].take(user_id)
    assert await refused(processes[1], user_id)
    await processes[0]._beat_task.__aexit__()
    await sql.execute(
        "UPDATE reader_processes SET seen_at = now() - interval '21 seconds' WHERE id = $1", processes[0]._process_id
    )
    assert not await refused(processes[1], user_id)


async def test_tells_its_places_anew_if_the_database_has_forgotten_them(
    processes: list[Readers], sql: asyncpg.Connection
) -> None:
    user_id = str(uuid4())
    for _ in range(20):
        await processes[0].take(user_id)
    await sql.execute("DELETE FROM reader_places WHERE process_id = $1", processes[0]._process_id)
    await sql.execute("DELETE FROM reader_processes WHERE id = $1", processes[0]._process_id)
    await processes[0]._beat()
    assert await leased(sql, user_id) == 20
    assert await refused(processes[1], user_id)


async def test_a_place_given_back_while_another_is_taken_is_not_kept(
    processes: list[Readers], sql: asyncpg.Connection, database_url: str
) -> None:
    user_id, process_id = str(uuid4()), processes[0]._process_id
    for _ in range(19):
        await processes[0].take(user_id)
    other = await asyncpg.connect(database_url)
    try:
        async with sql.transaction():
            assert await sql.fetchval("SELECT readers_take($1, $2, 20)", user_id, process_id)
            giving = asyncio.create_task(other.execute(statements()["readers.give_back"], process_id, [user_id], [19]))
            await someone_waits_for(sql)
        await giving
    finally:
        await other.close()
    assert await leased(sql, user_id) == 1


async def test_places_of_a_take_without_an_answer_are_told_anew(
    processes: list[Readers], sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id, database = str(uuid4()), processes[0]._database
    change = database.change

    async def lose_the_answer(name: str, *arguments: Any) -> Any:
        await change(name, *arguments)
        raise Unavailable

    with monkeypatch.context() as patched:
        patched.setattr(database, "change", lose_the_answer)
        with pytest.raises(Unavailable):
            await processes[0].take(user_id)
    await processes[0].return_free()
    assert await leased(sql, user_id) == 0


async def test_leaves_nothing_behind(config: Config, sql: asyncpg.Connection) -> None:
    user_id = str(uuid4())
    async with Database(config) as database:
        async with Readers(database, Background()) as process:
            await process.take(user_id)
        assert await leased(sql, user_id) == 0
        assert not await sql.fetch("SELECT FROM reader_processes WHERE id = $1", process._process_id)


async def open_sockets(user: Person, number: int, sockets: list[ClientWebSocketResponse]) -> None:
    for _ in range(number):
        sockets.append(await connect(user))
        await event(sockets[-1])


async def test_sockets_and_waiting_polls_of_all_processes_count_together(make_client: MakeClient, user: Person) -> None:
    elsewhere = replace(user, client=await make_client())
    sockets: list[ClientWebSocketResponse] = []
    await open_sockets(user, 9, sockets)
    await open_sockets(elsewhere, 9, sockets)
    polls = [await poll(client, user, 0, wait=20) for client in (user.client, elsewhere.client)]

    async def has_20_readers() -> bool:
        return await refuses(user)

    await until(has_20_readers)
    for person in (user, elsewhere):
        response = await person.get("/api/feedback/changes", params={"since": 0, "wait": 5})
        found = await problem(response, 429, "too-many-requests")
        assert "20 live sockets and waiting polls" in found["detail"]
        assert response.headers["RateLimit-Policy"] == '"readers";q=20'
        late = await person.client.ws_connect("/api/feedback/live")
        await late.send_json({"type": "auth", "token": person.token})
        assert await close_code(late) == 4429
    # One that does not wait, or has something to read, is no reader that waits.
    assert await user.changes(0) == {"events": [], "cursor": 0, "more": False}
    await user.receive()
    assert (await user.changes(0, wait=20))["cursor"] == 1
    for task in polls:
        await task


async def refuses(user: Person) -> bool:
    try:
        ws = await connect(user)
    except WSServerHandshakeError as error:
        return error.status == 429
    await ws.close()
    return False


async def test_sockets_that_say_nothing_are_few(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.inbox.newcomers.MOST_OF_ADDRESS", 3)
    client = await make_client()
    silent = [await client.ws_connect("/api/feedback/live") for _ in range(3)]
    with pytest.raises(WSServerHandshakeError) as refused:
        await client.ws_connect("/api/feedback/live")
    assert refused.value.status == 429
    assert "fw_live_unauthenticated_sockets 3.0" in await (await client.get("/metrics")).text()
    await silent[0].close()

    async def takes_another() -> Any:
        try:
            return await client.ws_connect("/api/feedback/live")
        except WSServerHandshakeError:
            return None

    await until(takes_another)


async def test_who_is_silent_longest_makes_way_where_there_are_too_many(
    client: TestClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.inbox.newcomers.MOST", 2)
    silent = [await client.ws_connect("/api/feedback/live") for _ in range(2)]
    honest = await client.ws_connect("/api/feedback/live")
    await honest.send_json({"type": "auth", "token": user.token})
    assert (await event(honest))["event"] == "hello"
    assert await close_code(silent[0]) == 4429
    another = await client.ws_connect("/api/feedback/live")
    assert "fw_live_unauthenticated_sockets 2.0" in await (await client.get("/metrics")).text()
    for ws in (silent[1], another):
        assert not ws.closed
        await ws.close()


async def test_the_place_of_a_poll_whose_client_has_left_is_free_soon(
    client: TestClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.inbox.changes.LOOK_SECONDS", 0.1)
    waiting = await poll(client, user, 0)
    waiting.cancel()

    async def is_left() -> bool:
        return user.id not in client.app[HUB]._watches  # type: ignore[index]

    await until(is_left, seconds=5)


async def test_a_named_socket_is_not_held_up_by_silent_ones(
    make_client: MakeClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.inbox.newcomers.MOST_OF_ADDRESS", 1)
    await user.client.ws_connect("/api/feedback/live")
    ws = await connect(user)
    assert (await event(ws))["event"] == "hello"
    await body(await user.get("/api/auth/me"))
