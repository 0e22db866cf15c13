"""Searches that have to look at much: each page comes in time, all pages together have everything, and others go on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from fw.inbox import searches
from fw.inbox.searches import Work
from tests.conftest import MakeClient, MakeUser
from tests.support.people import Person, body, problem

NOBODYS = "0193572f-6c00-7000-8000-5f3a9c1b2d4e"
SLOW = "ﬃ" * 199 + "x"
"""Takes PostgreSQL half a millisecond to find out that it is not in `SLOW_TEXT`."""
SLOW_TEXT = "ffi" * 1666


async def fill(sql: asyncpg.Connection, user: Person, count: int, message: str) -> None:
    """Put items into an inbox whose messages end with their numbers."""
    await sql.execute(
        "SELECT inbox_append($1, u.ids, array_fill(now(), ARRAY[$2]), array_fill(NULL::uuid, ARRAY[$2]),"
        " array_fill(NULL::inet, ARRAY[$2]), u.messages, array_fill(NULL::json, ARRAY[$2]), NULL, NULL)"
        " FROM (SELECT array_agg(i.id ORDER BY i.id) AS ids, array_agg($3 || ' ' || i.n ORDER BY i.id) AS messages"
        " FROM (SELECT n, id_at(gen_random_uuid(), id_time('0193572f-6c00-7000-8000-5f3a9c1b2d4e') + n) AS id"
        " FROM generate_series(1, $2::integer) AS n) AS i) AS u",
        user.id,
        count,
        message,
    )


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("query", [{"q": "No. 7"}, {"q": "no. "}, {"is_read": "false"}, {"q": "9", "is_read": "false"}])
async def test_pages_have_everything_once_and_in_order_wherever_they_stop(
    user: Person, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, order: str, query: dict[str, str]
) -> None:
    await fill(sql, user, 1000, "No.")
    whole = [item["message"] for item in await user.everything(order=order, limit=100, **query)]
    wanted = [f"No. {n}" for n in range(1, 1001) if query.get("q", "").lower() in f"no. {n}"]
    assert whole == (wanted if order == "oldest" else wanted[::-1])
    monkeypatch.setattr(searches, "ALONE_SECONDS", 0.0)
    parts = [item["message"] for item in await user.everything(order=order, limit=7, **query)]
    assert parts == whole


async def test_a_page_may_be_empty_and_go_on(user: Person, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(sql, user, 300, "No.")
    monkeypatch.setattr(searches, "ALONE_SECONDS", 0.0)
    first = await user.inbox(q="No. 1 is not here")
    assert (first["items"], first["next"] is None, first["total_count"]) == ([], False, 300)
    assert await user.everything(q="No. 1 is not here") == []
    assert [item["message"] for item in await user.everything(q="No. 300", order="oldest")] == ["No. 300"]


async def test_what_changes_meanwhile_is_neither_skipped_nor_repeated(
    user: Person, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(sql, user, 500, "No.")
    monkeypatch.setattr(searches, "ALONE_SECONDS", 0.0)
    page = await user.inbox(q="No.", limit=5)
    await user.receive("No. new")
    await user.delete(f"/api/feedback/{page['items'][-1]['id']}")
    found = [item["message"] for item in page["items"]]
    while page["next"]:
        page = await user.inbox(q="No.", limit=100, after=page["next"])
        found += [item["message"] for item in page["items"]]
    assert found == [f"No. {n}" for n in range(500, 0, -1)]


async def test_a_search_of_any_cost_ends_in_time(user: Person, sql: asyncpg.Connection) -> None:
    # All of it would take several seconds.
    await fill(sql, user, 10_000, SLOW_TEXT)
    page = await user.inbox(q=SLOW)
    assert (page["items"], page["next"] is None) == ([], False)


@pytest.mark.slow
async def test_the_searches_of_many_delay_nobody_else(
    make_client: MakeClient, make_user: MakeUser, sql: asyncpg.Connection
) -> None:
    client: TestClient = await make_client(db_pool=4)
    people = [await make_user(client=client) for _ in range(6)]
    other = await make_user(client=client)
    for person in people:
        await fill(sql, person, 600, SLOW_TEXT)
    is_over = asyncio.Event()
    answers: list[Any] = []

    async def search(person: Person) -> None:
        while not is_over.is_set():
            answers.append((await person.get("/api/feedback", params={"q": SLOW})).status)

    searching = [asyncio.create_task(search(person)) for person in people for _ in range(2)]
    # What is not a search always finds a connection, so it waits for no search to end.
    for _ in range(20):
        await asyncio.wait_for(other.receive(), 3)
        await asyncio.wait_for(other.inbox(), 3)
    is_over.set()
    await asyncio.gather(*searching)
    assert set(answers) == {200}


async def search(user: Person) -> ClientResponse:
    return await user.get("/api/feedback", params={"q": "x"})


async def mark(user: Person) -> ClientResponse:
    return await user.post("/api/feedback/read", json={"ids": [NOBODYS]})


async def mark_all(user: Person) -> ClientResponse:
    return await user.post("/api/feedback/read", json={"up_to": 1})


async def delete(user: Person) -> ClientResponse:
    return await user.post("/api/feedback/bulk", json={"ids": [NOBODYS], "delete": True})


@pytest.mark.parametrize(
    ("call", "work"), [(search, Work.TEXTS), (mark, Work.MANY), (mark_all, Work.MANY), (delete, Work.MANY)]
)
async def test_what_takes_long_waits_for_its_place_and_is_told_to_come_again(
    make_client: MakeClient,
    make_user: MakeUser,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[Person], Awaitable[ClientResponse]],
    work: Work,
) -> None:
    client = await make_client(db_pool=4)
    user = await make_user(client=client)
    monkeypatch.setattr(searches, "WAIT_SECONDS", 0.05)
    app: Any = client.app
    line = app[searches.SEARCHES]._lines[work]
    await line.free.acquire()
    refused = await call(user)
    await problem(refused, 503, "unavailable")
    assert refused.headers["Retry-After"]
    await body(await user.get("/api/auth/me"))
    line.free.release()
    await body(await call(user))
