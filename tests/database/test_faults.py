"""What a client sees when the database is away, busy, killed or changed."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import asyncpg
import jwt
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from fw.config import CONFIG, Config
from fw.database.migrations import migrate
from fw.database.pool import DATABASE, Database, Locked
from tests.conftest import SECRET, MakeClient, MakeDatabase, MakeUser
from tests.support.people import PASSWORD, Person, body, make_person, nothing, problem
from tests.support.waiting import until

pytestmark = pytest.mark.slow

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
KILL = """
    SELECT count(pg_terminate_backend(pid))
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'feedbackwave%'
"""
WAITING = """
    SELECT pid
    FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
"""

Call = Callable[[Person], Awaitable[ClientResponse]]

READS: dict[str, Call] = {
    "list": lambda person: person.get("/api/feedback"),
    "changes": lambda person: person.get("/api/feedback/changes"),
    "me": lambda person: person.get("/api/auth/me"),
    "profile": lambda person: person.client.get(f"/api/users/{person.username}"),
    "widgets": lambda person: person.get("/api/widgets"),
}
WRITES: dict[str, Call] = {
    "submit": lambda person: person.client.post(f"/api/feedback/{person.username}", json={"message": "Hello"}),
    "submit with a key": lambda person: person.client.post(
        f"/api/feedback/{person.username}", json={"message": "Hello"}, headers={"Idempotency-Key": "k"}
    ),
    "mark": lambda person: person.post("/api/feedback/read", json={"up_to": 10**9}),
    "login": lambda person: person.client.post(
        "/api/auth/login", json={"username": person.username, "password": person.password}
    ),
}
CALLS = READS | WRITES


@asynccontextmanager
async def holding_one(client: TestClient) -> AsyncIterator[Any]:
    """Hold a connection."""
    leases = client.app[DATABASE]._leases  # type: ignore[index]
    assert leases is not None
    connection = await leases.take()
    yield connection
    leases.give_back(connection)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that are run for requests; the outbox looks for jobs by itself."""
    names: list[str] = []
    run = Database.run

    async def note(self: Database, name: str, *rest: Any) -> Any:
        task = asyncio.current_task()
        if task and not task.get_name().startswith(("lane", "outbox")):
            names.append(name)
        return await run(self, name, *rest)

    monkeypatch.setattr(Database, "run", note)
    return names


def in_use(client: TestClient) -> int:
    return client.app[DATABASE].in_use  # type: ignore[index]


async def all_idle(client: TestClient) -> None:
    async def idle() -> bool:
        return in_use(client) == 0

    await until(idle, "every connection to be back in the pool")


async def unavailable(response: ClientResponse) -> None:
    found = await problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert "postgres" not in str(found).lower()


async def mark_one(person: Person) -> ClientResponse:
    return await person.patch(f"/api/feedback/{(await person.inbox())['items'][0]['id']}/read")


async def delete_one(person: Person) -> ClientResponse:
    return await person.delete(f"/api/feedback/{(await person.inbox())['items'][0]['id']}")


async def make_widget(person: Person) -> ClientResponse:
    return await person.post("/api/widgets", json={"name": "Corner", "type": "button"})


def config_of(client: TestClient) -> Config:
    config: Config = client.app[CONFIG]  # type: ignore[index]
    return config


async def works(person: Person) -> None:
    for name, call in CALLS.items():
        response = await call(person)
        assert response.status in {200, 201}, f"{name}: {response.status} {await response.text()}"


async def recovers(person: Person) -> None:
    """Wait until everything works again."""

    async def well() -> bool:
        return {(await call(person)).status for call in CALLS.values()} <= {200, 201}

    await until(well, "all requests to work")
    await works(person)


class Traffic:
    """Everything a person does, over and over."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []
        self._going = True

    async def more(self, count: int) -> None:
        """Wait until this many more requests have been answered."""
        goal = self.statuses.total() + count

        async def reached() -> bool:
            return self.statuses.total() >= goal

        await until(reached, f"{count} more answers")

    async def run(self, worker: int) -> None:
        names = itertools.cycle([*CALLS, "item", "register"])
        for name in itertools.islice(names, worker, None):
            if not self._going:
                return
            for response in await self.calls(name):
                self.statuses[response.status] += 1
                if response.status not in {200, 201, 204}:
                    self.failures.append(f"{name}: {response.status} {await response.text()}")

    async def calls(self, name: str) -> list[ClientResponse]:
        if name in CALLS:
            return [await CALLS[name](self.person)]
        if name == "register":
            unique = f"t{next(UNIQUE)}"
            fields = {"email": f"{unique}@example.com", "username": f"{self.person.username}{unique}", "password": PASSWORD}
            return [await self.person.client.post("/api/auth/register", json=fields)]
        responses = [await CALLS["submit"](self.person)]
        if responses[0].status == 201:
            path = f"/api/feedback/{(await responses[0].json())['id']}"
            responses.append(await self.person.patch(f"{path}/read"))
            responses.append(await self.person.patch(f"{path}/read", json={"is_read": False}))
            responses.append(await self.person.get(path))
            responses.append(await self.person.delete(path))
        return responses

    @asynccontextmanager
    async def flowing(self, workers: int) -> AsyncIterator["Traffic"]:
        running = [asyncio.create_task(self.run(n)) for n in range(workers)]
        try:
            yield self
        finally:
            self._going = False
            await asyncio.gather(*running)


UNIQUE: Iterator[int] = itertools.count()


@pytest.fixture
async def own_user(make_client: MakeClient, make_database: MakeDatabase, config: Config) -> Person:
    """Somebody at a server whose database is its own."""
    url = make_database()
    migrate(replace(config, database_url=url))
    return await make_person(await make_client(database_url=url))


@pytest.fixture
async def own_sql(own_user: Person) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(config_of(own_user.client).database_url)
    yield connection
    await connection.close()


async def test_says_that_the_database_cannot_be_reached(make_client: MakeClient, user: Person) -> None:
    lost = replace(user, client=await make_client(database_url=NOWHERE))
    for call in CALLS.values():
        await unavailable(await call(lost))


async def test_says_that_there_is_no_such_database(make_client: MakeClient, database_url: str, user: Person) -> None:
    lost = replace(user, client=await make_client(database_url=database_url.replace("/fw_test_", "/gone_", 1)))
    for call in CALLS.values():
        await unavailable(await call(lost))


async def test_says_that_all_connections_are_taken(
    make_client: MakeClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.database.pool.USUAL_SECONDS", 0.1)
    busy = replace(user, client=await make_client(db_pool=1))
    async with holding_one(busy.client):
        for call in CALLS.values():
            await unavailable(await call(busy))
    monkeypatch.undo()
    await works(busy)


async def test_answers_all_who_wait_for_a_connection_in_vain(
    make_client: MakeClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.database.pool.USUAL_SECONDS", 0.1)
    monkeypatch.setattr("fw.web.turns.WAIT_SECONDS", 30)
    busy = replace(user, client=await make_client(db_pool=1))
    async with holding_one(busy.client) as connection:
        sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
        for response in await asyncio.gather(*(CALLS[name](busy) for name in [*CALLS] * 5)):
            await unavailable(response)
        sleeping.cancel()
        await asyncio.gather(sleeping, return_exceptions=True)
    monkeypatch.undo()
    await works(busy)
    await all_idle(busy.client)


@pytest.mark.parametrize("name", ["list", "submit", "mark"])
async def test_says_that_a_statement_takes_too_long(
    make_client: MakeClient, user: Person, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("fw.database.pool.STATEMENT_SECONDS", 0.3)
    client = await make_client()
    slow = replace(user, client=client)
    await user.receive()
    async with sql.transaction():
        await sql.execute("LOCK TABLE feedback")
        await unavailable(await CALLS[name](slow))
    await recovers(slow)
    await all_idle(client)


async def test_works_again_after_all_connections_were_killed(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    await works(user)
    assert await sql.fetchval(KILL) > 0
    await recovers(user)


async def test_retries_a_read_whose_connection_was_killed(
    make_client: MakeClient, user: Person, sql: asyncpg.Connection
) -> None:
    lonely = replace(user, client=await make_client(db_pool=1))
    await works(lonely)
    async with sql.transaction():
        await sql.execute("LOCK TABLE feedback")
        reading = asyncio.create_task(CALLS["list"](lonely))

        async def waits() -> Any:
            return await sql.fetchval(WAITING)

        await sql.execute("SELECT pg_terminate_backend($1::integer)", await until(waits, "the read to wait"))
    await body(await reading)


async def test_answers_or_says_why_not_while_connections_are_killed(own_user: Person, own_sql: asyncpg.Connection) -> None:
    async with Traffic(own_user).flowing(8) as traffic:
        for _ in range(6):
            await traffic.more(40)
            assert await own_sql.fetchval(KILL) > 0
        await traffic.more(40)
    assert set(traffic.statuses) <= {200, 201, 204, 503}, traffic.failures
    await recovers(own_user)
    await all_idle(own_user.client)
    counted = await own_sql.fetchval("SELECT sum(total_count) FROM inboxes")
    assert counted == await own_sql.fetchval("SELECT count(*) FROM feedback WHERE deleted_at IS NULL")


@pytest.mark.parametrize("table", ["feedback", "users", "inboxes", "idempotency", "sessions"])
async def test_fails_nobody_while_a_table_is_changed(own_user: Person, own_sql: asyncpg.Connection, table: str) -> None:
    async with Traffic(own_user).flowing(8) as traffic:
        for n in range(5):
            await traffic.more(12)
            await own_sql.execute(f"ALTER TABLE {table} ADD COLUMN extra_{n} text DEFAULT 'x'")
            await traffic.more(12)
            await own_sql.execute(f"ALTER TABLE {table} DROP COLUMN extra_{n}")
        await traffic.more(20)
    assert traffic.failures == []


@pytest.mark.parametrize(
    ("call", "held", "altered"),
    [
        (WRITES["mark"], "inboxes", "feedback"),
        (WRITES["submit"], "inboxes", "feedback"),
        (WRITES["submit with a key"], "inboxes", "feedback"),
        (WRITES["submit with a key"], "inboxes", "idempotency"),
        (mark_one, "inboxes", "feedback"),
        (delete_one, "inboxes", "feedback"),
        (make_widget, "users", "widgets"),
    ],
    ids=["mark", "submit", "key and feedback", "key and idempotency", "mark one", "delete one", "make a widget"],
)
async def test_fails_nobody_whose_statement_waits_while_a_table_is_changed(
    own_user: Person, own_sql: asyncpg.Connection, call: Call, held: str, altered: str
) -> None:
    # It is known to the connection from before, and has been begun when the table gets another column.
    await own_user.receive()
    await own_user.receive()
    await own_user.receive()
    assert (await call(own_user)).status < 300
    holder = await asyncpg.connect(config_of(own_user.client).database_url)
    async with holder.transaction():
        await holder.execute(f"SELECT FROM {held} FOR UPDATE")
        writing = asyncio.create_task(call(own_user))

        async def waits() -> Any:
            return await own_sql.fetchval(WAITING)

        await until(waits, "the statement to wait for its turn")
        await own_sql.execute(f"ALTER TABLE {altered} ADD COLUMN extra text")
    await holder.close()
    response = await writing
    assert response.status < 300, await response.text()
    assert (await call(own_user)).status < 300


async def test_keeps_no_connection_of_requests_that_were_cancelled(user: Person, client: TestClient) -> None:
    random = Random(36)
    calls = [random.choice([*CALLS.values()]) for _ in range(1000)]

    async def leave_somewhere(call: Call) -> None:
        asked = asyncio.create_task(call(user))
        for _ in range(random.randrange(60)):
            await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

    await asyncio.gather(*map(leave_somewhere, calls))
    await all_idle(client)
    await recovers(user)
    await all_idle(client)


async def test_keeps_no_connection_of_requests_that_left_while_waiting(
    user: Person, make_user: MakeUser, client: TestClient, sql: asyncpg.Connection
) -> None:
    await works(user)
    # One account alone never has them all.
    people = [user, await make_user(), await make_user()]
    async with sql.transaction():
        await sql.execute("LOCK TABLE feedback")
        calls = [CALLS[name](person) for name in ("list", "changes", "mark", "submit") for person in people for _ in range(20)]
        asked = [asyncio.create_task(call) for call in calls]

        async def exhausted() -> bool:
            return in_use(client) == 10

        await until(exhausted, "every connection to be in use")
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    await all_idle(client)
    await recovers(user)


BAD_TOKENS = {
    "none": "",
    "junk": "junk",
    "dots": "..",
    "unsigned": jwt.encode({"sub": "x"}, "", "none"),
    "signed by another": jwt.encode({"sub": "x"}, "x" * 32, "HS256"),
    "without claims": jwt.encode({}, SECRET, "HS256"),
    "expired": jwt.encode(
        {"iss": "feedbackwave", "aud": "feedbackwave-api", "sub": "x", "jti": "x", "iat": 1, "exp": 2}, SECRET, "HS256"
    ),
}


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_asks_no_database_about_a_bad_token(asked: list[str], client: TestClient, name: str) -> None:
    headers = {"Authorization": f"Bearer {BAD_TOKENS[name]}"}
    for path in ("/api/feedback", "/api/auth/me", "/api/widgets", "/api/feedback/changes"):
        await problem(await client.get(path, headers=headers), 401, "unauthorized")
    assert asked == []


async def test_asks_no_database_about_bad_input(asked: list[str], client: TestClient) -> None:
    key = {"Idempotency-Key": "k" * 256}
    await problem(await client.post("/api/feedback/somebody", json={"message": ""}), 422, "invalid")
    await problem(await client.post("/api/feedback/somebody", json={"message": "x", "other": 1}), 422, "invalid")
    await problem(await client.post("/api/feedback/somebody", json={"message": "x"}, headers=key), 422, "invalid")
    await problem(await client.post("/api/feedback/somebody", json=[]), 400, "malformed-json")
    await problem(await client.post("/api/feedback/somebody", data=b"x"), 415, "unsupported-media-type")
    await problem(await client.post("/api/feedback/somebody", json={"message": "x" * 70_000}), 413, "too-large")
    await problem(await client.post("/api/feedback/no:name", json={"message": "x"}), 404, "not-found")
    await problem(await client.get("/api/users/no:name"), 404, "not-found")
    await problem(await client.get("/api/widgets/no-id/config"), 404, "not-found")
    await problem(await client.post("/api/widgets/no-id/feedback", json={"message": 5}), 422, "invalid")
    await problem(await client.post("/api/widgets/no-id/events", json={"event": "x"}), 422, "invalid")
    await problem(await client.post("/api/auth/register", json={"email": "x"}), 422, "invalid")
    await problem(await client.post("/api/auth/login", json={"username": 5}), 422, "invalid")
    await problem(await client.get("/nowhere"), 404, "not-found")
    await problem(await client.delete("/api/auth/login"), 405, "method-not-allowed")
    await body(await client.get("/health"))
    assert asked == []


@pytest.mark.parametrize("path", ["/api/feedback/somebody", "/api/auth/login", "/api/feedback", "/api/widgets"])
async def test_asks_no_database_about_a_preflight(asked: list[str], make_client: MakeClient, path: str) -> None:
    client = await make_client(cors_origins=frozenset({"https://example.com"}))
    method = "POST" if path != "/api/feedback" else "GET"
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": method}
    await nothing(await client.options(path, headers=headers), 200)
    assert asked == []


async def test_renews_its_connections_after_a_failover_to_a_server_that_only_reads(
    own_user: Person, own_sql: asyncpg.Connection
) -> None:
    name = await own_sql.fetchval("SELECT current_database()")
    await body(await own_user.get("/api/feedback"))
    # What a failover does: the connections end, and the new ones find a standby.
    await own_sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await own_sql.execute(KILL)

    async def only_reads() -> bool:
        response = await WRITES["submit"](own_user)
        return response.status == 503 and "Retry-After" in response.headers

    await until(only_reads)
    # The standby is promoted; its connections of before would go on to only read.
    await own_sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")

    async def writes() -> bool:
        return (await WRITES["submit"](own_user)).status == 201

    await until(writes, seconds=5)


async def test_a_statement_that_always_ends_in_a_deadlock_is_to_come_again(config: Config) -> None:
    text = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'deadlock_detected'; END $$"
    async with Database(config) as database:
        with pytest.raises(Locked):
            await database.run("deadlock", lambda connection: connection.execute(text), 20)
