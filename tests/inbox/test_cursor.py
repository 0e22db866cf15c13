"""The log of an inbox: its cursor grows by one with each change, in commit order, whoever writes."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from tests.conftest import MakeClient, MakeUser
from tests.support.people import Person, body, nothing, problem

pytestmark = pytest.mark.slow

WRITERS = 12
ACTIONS = 25


class Writer:
    """Somebody who sends, reads, unreads and deletes items of their own at random, and knows what is left of them."""

    def __init__(self, person: Person, servers: list[TestClient], seed: int) -> None:
        self.person = person
        self.servers = servers
        self.random = Random(seed)
        self.items: dict[str, bool] = {}
        self.gone: list[str] = []
        self.changes = 0
        self.cursors: list[int] = []

    async def run(self) -> None:
        actions = (self.send, self.send, self.mark, self.mark, self.mark_many, self.repeat, self.delete)
        for _ in range(ACTIONS):
            await self.random.choice(actions)()

    async def call(self, method: str, path: str, **options: Any) -> Any:
        server = self.random.choice(self.servers)
        return await server.request(method, path, headers=self.person.headers, **options)

    async def send(self) -> None:
        response = await self.call("POST", f"/api/feedback/{self.person.username}", json={"message": f"{self.changes}"})
        self.items[(await body(response, 201))["id"]] = False
        self.changes += 1

    async def mark(self) -> None:
        if not self.items:
            return await self.send()
        feedback_id, is_read = self.random.choice(sorted(self.items)), self.random.random() < 0.5
        item = await body(await self.call("PATCH", f"/api/feedback/{feedback_id}/read", json={"is_read": is_read}))
        assert item["is_read"] is is_read
        if is_read is not self.items[feedback_id]:
            self.changes += 1
            self.cursors.append(item["cursor"])
        self.items[feedback_id] = is_read
        return None

    async def mark_many(self) -> None:
        if not self.items:
            return await self.send()
        ids = self.random.choices(sorted(self.items), k=4) + self.gone[:2]
        unread = {feedback_id for feedback_id in ids if self.items.get(feedback_id) is False}
        answer = await body(await self.call("POST", "/api/feedback/read", json={"ids": ids}))
        assert answer == {"changed": len(unread)}
        self.items.update(dict.fromkeys(unread, True))
        self.changes += len(unread)
        return None

    async def repeat(self) -> None:
        """Do what changes nothing."""
        if self.gone:
            await problem(await self.call("DELETE", f"/api/feedback/{self.gone[0]}"), 404, "not-found")
        for feedback_id, is_read in self.items.items():
            await body(await self.call("PATCH", f"/api/feedback/{feedback_id}/read", json={"is_read": is_read}))
            return

    async def delete(self) -> None:
        if not self.items:
            return await self.send()
        feedback_id = self.random.choice(sorted(self.items))
        await nothing(await self.call("DELETE", f"/api/feedback/{feedback_id}"))
        del self.items[feedback_id]
        self.gone.append(feedback_id)
        self.changes += 1
        return None


class Reader:
    """A client that keeps its own copy of an inbox by following the changes."""

    def __init__(self, person: Person, server: TestClient) -> None:
        self.person = person
        self.server = server
        self.cursor = 0
        self.cursors: list[int] = []
        self.items: dict[str, dict[str, Any]] = {}

    async def read(self) -> None:
        query = {"since": self.cursor, "wait": 0.05}
        answer = await body(await self.server.get("/api/feedback/changes", params=query, headers=self.person.headers))
        for event in answer["events"]:
            assert self.cursor < event["cursor"] <= answer["cursor"], (self.cursor, answer)
            self.cursor = event["cursor"]
            self.cursors.append(event["cursor"])
            if event["event"] == "deleted":
                self.items.pop(event["id"], None)
            else:
                known = event["feedback"]["id"] in self.items
                assert event["event"] == ("updated" if known else "created"), event
                self.items[event["feedback"]["id"]] = event["feedback"]
        self.cursor = answer["cursor"]

    async def follow(self, writing: "asyncio.Future[Any]") -> None:
        while not writing.done():
            await self.read()
        await self.read()


async def whole_list(person: Person) -> dict[str, dict[str, Any]]:
    items: dict[str, dict[str, Any]] = {}
    page = await person.inbox(limit=100)
    while True:
        items.update({item["id"]: item for item in page["items"]})
        if page["next"] is None:
            return items
        page = await person.inbox(limit=100, after=page["next"])


@pytest.mark.parametrize("seed", [1, 2])
async def test_holds_while_many_write_and_read_at_two_servers(
    make_client: MakeClient, client: TestClient, user: Person, sql: asyncpg.Connection, seed: int
) -> None:
    servers = [client, await make_client()]
    writers = [Writer(user, servers, seed * 1000 + n) for n in range(WRITERS)]
    readers = [Reader(user, servers[n % 2]) for n in range(3)]
    writing = asyncio.gather(*(writer.run() for writer in writers))
    await asyncio.gather(writing, *(reader.follow(writing) for reader in readers))

    inbox = await user.inbox()
    left = {feedback_id: is_read for writer in writers for feedback_id, is_read in writer.items.items()}
    made = sum(writer.changes for writer in writers)
    assert inbox["cursor"] == made, "a number for each change, and none for what changes nothing"
    assert inbox["total_count"] == len(left)
    assert inbox["unread_count"] == Counter(left.values())[False]

    rows = await sql.fetch(
        "SELECT cursor, created_cursor, is_read, deleted_at FROM feedback WHERE user_id = $1::text::uuid", user.id
    )
    numbers = {row["cursor"] for row in rows}
    assert len(numbers) == len(rows)
    assert max(numbers) == made
    assert len({row["created_cursor"] for row in rows}) == len(rows)
    alive = [row for row in rows if row["deleted_at"] is None]
    assert inbox["total_count"] == len(alive)
    assert inbox["unread_count"] == sum(not row["is_read"] for row in alive)

    given = [cursor for writer in writers for cursor in writer.cursors]
    assert len(set(given)) == len(given), "no number is given twice"
    assert all(writer.cursors == sorted(writer.cursors) for writer in writers), "what comes later has a larger number"

    listed = await whole_list(user)
    assert {feedback_id: item["is_read"] for feedback_id, item in listed.items()} == left
    for reader in readers:
        assert reader.cursor == made
        assert reader.cursors == sorted(set(reader.cursors))
        assert numbers <= set(reader.cursors), "no number that still stands was missed"
        assert reader.items == listed


async def test_a_list_and_its_cursor_are_of_one_moment(make_client: MakeClient, client: TestClient, user: Person) -> None:
    servers = [client, await make_client()]
    writing = asyncio.gather(*(Writer(user, servers, n).run() for n in range(6)))
    pages = []
    while not writing.done():
        pages.append(await user.inbox(limit=100))
    await writing
    for page in pages:
        items = page["items"]
        assert len(items) == min(100, page["total_count"])
        if page["next"] is None:
            assert sum(not item["is_read"] for item in items) == page["unread_count"]
        assert all(item["cursor"] <= page["cursor"] for item in items)


async def test_a_reader_can_begin_at_any_list(make_client: MakeClient, client: TestClient, user: Person) -> None:
    servers = [client, await make_client()]
    writing = asyncio.gather(*(Writer(user, servers, n).run() for n in range(4)))
    readers = []
    while not writing.done():
        page = await user.inbox(limit=100)
        if page["next"] is None:
            reader = Reader(user, servers[len(readers) % 2])
            reader.cursor, reader.items = page["cursor"], {item["id"]: item for item in page["items"]}
            readers.append(reader)
    await writing
    listed = await whole_list(user)
    assert readers
    for reader in readers[:: max(1, len(readers) // 10)]:
        await reader.read()
        assert reader.items == listed


async def test_every_inbox_counts_for_itself(make_client: MakeClient, client: TestClient, make_user: MakeUser) -> None:
    servers = [client, await make_client()]
    people = [await make_user() for _ in range(5)]
    await asyncio.gather(
        *(
            servers[n % 2].post(f"/api/feedback/{person.username}", json={"message": f"{n}"})
            for n in range(20)
            for person in people
        )
    )
    for person in people:
        inbox = await person.inbox(limit=100)
        assert (inbox["cursor"], inbox["total_count"]) == (20, 20)
        assert sorted(item["cursor"] for item in inbox["items"]) == list(range(1, 21))


async def test_numbers_follow_the_order_of_commits(client: TestClient, user: Person) -> None:
    reader, seen = Reader(user, client), []
    for n in range(30):
        await asyncio.gather(*(user.receive(f"{n} {m}") for m in range(3)))
        await reader.read()
        seen.append(len(reader.items))
    assert seen == list(range(3, 91, 3)), "what has been answered can be read at once"
