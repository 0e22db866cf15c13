"""POST /api/widgets/{id}/events, and the counters behind it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from fw.config import RATES, Config
from fw.database.migrations import migrate
from tests.conftest import MakeClient, MakeDatabase
from tests.support.people import Person, body, make_person, nothing, problem
from tests.support.waiting import until

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
ANYWHERE = {"Origin": "https://anywhere.example"}
COUNTED = "SELECT coalesce(sum(views), 0)::integer, coalesce(sum(opens), 0)::integer FROM widget_events WHERE widget_id = $1"


@pytest.fixture
def own_url(make_database: MakeDatabase) -> str:
    """A migrated database of one test alone, which it may damage."""
    url = make_database()
    migrate(Config(database_url=url))
    return url


@pytest.fixture
async def own_sql(own_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(own_url)
    yield connection
    await connection.close()


async def send(client: TestClient, widget: dict[str, Any], event: str) -> ClientResponse:
    return await client.post(f"/api/widgets/{widget['id']}/events", json={"event": event})


async def post(client: TestClient, widget: dict[str, Any], raw: bytes, media: str) -> ClientResponse:
    return await client.post(f"/api/widgets/{widget['id']}/events", data=raw, headers={"Content-Type": media})


async def counted(sql: asyncpg.Connection, widget: dict[str, Any]) -> tuple[int, int]:
    """Return how many views and opens of a widget are stored."""
    views, opens = await sql.fetchrow(COUNTED, widget["id"])
    return views, opens


async def test_counts_views_and_opens(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    for event in ("view", "view", "open"):
        await nothing(await send(client, widget, event))
    totals = (await body(await user.get(f"/api/widgets/{widget['id']}/stats")))["totals"]
    assert (totals["views"], totals["opens"]) == (2, 1)


async def test_takes_json_by_several_names(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    for media in ("text/plain", "text/plain;charset=UTF-8", "application/json", "application/cloud+json"):
        await nothing(await post(client, widget, b'{"event": "view"}', media))
    assert (await body(await user.get(f"/api/widgets/{widget['id']}/stats")))["totals"]["views"] == 4


async def test_are_written_within_a_second(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    widget = await user.make_widget()
    await nothing(await send(client, widget, "open"))

    async def is_counted() -> bool:
        return await counted(sql, widget) == (0, 1)

    started = asyncio.get_running_loop().time()
    await until(is_counted)
    # A loaded machine is slow; what matters is that nobody had to ask.
    assert asyncio.get_running_loop().time() - started < 5


@pytest.mark.parametrize("media", ["text/plain", "application/json"])
async def test_refuses_what_is_no_event(client: TestClient, user: Person, media: str) -> None:
    widget = await user.make_widget()
    for raw in (
        b'{"event": "close"}',
        b'{"event": "View"}',
        b'{"event": 1}',
        b'{"event": null}',
        b'{"event": ["view"]}',
        b"{}",
    ):
        found = await problem(await post(client, widget, raw, media), 422, "invalid")
        assert found["errors"].keys() == {"event"}, raw
    found = await problem(await post(client, widget, b'{"event": "view", "count": 9}', media), 422, "invalid")
    assert found["errors"].keys() == {"count"}


@pytest.mark.parametrize("media", ["text/plain", "application/json"])
async def test_refuses_what_is_no_json(client: TestClient, user: Person, media: str) -> None:
    widget = await user.make_widget()
    for raw in (b"", b"view", b"[]", b'"view"', b"{", b"\xff\xfe", b'{"event": NaN}', b"[" * 60000):
        await problem(await post(client, widget, raw, media), 400, "malformed-json")


async def test_refuses_other_media(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    for media in ("text/html", "text/csv", "application/x-www-form-urlencoded", "application/octet-stream"):
        await problem(await post(client, widget, b'{"event": "view"}', media), 415, "unsupported-media-type")


async def test_refuses_a_body_that_is_too_large(client: TestClient, user: Person) -> None:
    await problem(await post(client, await user.make_widget(), b" " * 70000, "text/plain"), 413, "too-large")


async def test_finds_no_widget_that_is_unknown_or_inactive(client: TestClient, user: Person) -> None:
    inactive = await user.make_widget(is_active=False)
    for widget_id in (inactive["id"], uuid4(), "corner", "%00"):
        await problem(await send(client, {"id": widget_id}, "view"), 404, "not-found")


async def test_is_for_any_page_without_credentials(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(settings={"allowed_origins": ["https://example.com"]})
    path = f"/api/widgets/{widget['id']}/events"
    taken = await client.post(path, json={"event": "view"}, headers=ANYWHERE)
    await nothing(taken)
    refused = await client.post(path, json={"event": "close"}, headers=ANYWHERE)
    await problem(refused, 422, "invalid")
    for response in (taken, refused):
        assert response.headers["Access-Control-Allow-Origin"] == ANYWHERE["Origin"]
        assert "Access-Control-Allow-Credentials" not in response.headers


async def test_of_an_address_120_a_minute_are_counted(make_client: MakeClient) -> None:
    client = await make_client(rate_limits={"widget-event": RATES["widget-event"]}, trusted_proxies=1)
    owner = await make_person(client)
    widgets = [await owner.make_widget() for _ in range(2)]

    async def visit(number: int, address: str) -> ClientResponse:
        path = f"/api/widgets/{widgets[number % 2]['id']}/events"
        return await client.post(path, json={"event": "view"}, headers={**ANYWHERE, "X-Forwarded-For": address})

    for number in range(120):
        await nothing(await visit(number, "203.0.113.5"))
    response = await visit(0, "203.0.113.5")
    await problem(response, 429, "too-many-requests")
    wait = int(response.headers["Retry-After"])
    assert 1 <= wait <= 60
    assert response.headers["RateLimit-Policy"] == '"widget-event";q=120;w=60'
    assert response.headers["RateLimit"] == f'"widget-event";r=0;t={wait}'
    assert response.headers["Access-Control-Allow-Origin"] == ANYWHERE["Origin"]
    await nothing(await visit(0, "198.51.100.7"))
    reports = [await body(await owner.get(f"/api/widgets/{widget['id']}/stats")) for widget in widgets]
    assert [report["totals"]["views"] for report in reports] == [61, 60]


async def test_whatever_is_no_event_is_counted_against_the_limit_too(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"widget-event": (4, 60)})
    widget = await user.make_widget()
    await problem(await post(client, widget, b"{}", "text/plain"), 422, "invalid")
    await problem(await post(client, widget, b"{", "text/plain"), 400, "malformed-json")
    await problem(await post(client, widget, b"{}", "text/html"), 415, "unsupported-media-type")
    await problem(await send(client, {"id": uuid4()}, "view"), 404, "not-found")
    await problem(await send(client, widget, "view"), 429, "too-many-requests")


async def test_one_too_many_asks_no_database(make_client: MakeClient) -> None:
    client = await make_client(database_url=NOWHERE, rate_limits={"widget-event": (1, 60)})
    await problem(await send(client, {"id": uuid4()}, "view"), 503, "unavailable")
    await problem(await send(client, {"id": uuid4()}, "view"), 429, "too-many-requests")


async def test_are_written_when_the_server_stops(make_client: MakeClient, sql: asyncpg.Connection) -> None:
    client = await make_client()
    widget = await (await make_person(client)).make_widget()
    for event in ("view", "view", "view", "open"):
        await nothing(await send(client, widget, event))
    await client.close()
    assert await counted(sql, widget) == (3, 1)


async def test_are_exact_over_two_servers(make_client: MakeClient, sql: asyncpg.Connection) -> None:
    clients = [await make_client(), await make_client()]
    owner = await make_person(clients[0])
    widget = await owner.make_widget()

    async def visit(number: int) -> None:
        for event in ("view", "open") if number % 3 == 0 else ("view",):
            await nothing(await send(clients[number % 2], widget, event))

    async def look() -> None:
        # Statistics write what has been counted, in the middle of the counting.
        await body(await owner.get(f"/api/widgets/{widget['id']}/stats"))

    await asyncio.gather(*(visit(number) for number in range(150)), *(look() for _ in range(5)))
    for client in clients:
        await client.close()
    assert await counted(sql, widget) == (150, 50)


async def test_survive_a_flush_that_fails(
    make_client: MakeClient, own_url: str, own_sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    client = await make_client(database_url=own_url)
    widget = await (await make_person(client)).make_widget()
    await own_sql.execute("ALTER TABLE widget_events RENAME TO away")
    for event in ("view", "open"):
        await nothing(await send(client, widget, event))

    async def has_failed() -> bool:
        return "widget events wait for the database" in caplog.text

    async def is_counted() -> bool:
        return await counted(own_sql, widget) == (2, 1)

    await until(has_failed)
    await nothing(await send(client, widget, "view"))
    await own_sql.execute("ALTER TABLE away RENAME TO widget_events")
    await until(is_counted)
    await client.close()
    assert await counted(own_sql, widget) == (2, 1)


async def test_are_dropped_with_their_widget_and_hold_up_no_other(
    client: TestClient, user: Person, sql: asyncpg.Connection
) -> None:
    gone, kept = await user.make_widget(), await user.make_widget()
    for widget in (gone, kept):
        await nothing(await send(client, widget, "view"))
    await nothing(await user.delete(f"/api/widgets/{gone['id']}"))
    await body(await user.get(f"/api/widgets/{kept['id']}/stats"))
    assert await counted(sql, kept) == (1, 0)
    assert await counted(sql, gone) == (0, 0)
