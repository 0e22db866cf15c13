"""GET and PUT /api/users/notifications."""

import asyncpg
from aiohttp.test_utils import TestClient

from tests.support.people import Person, body, nothing, problem

PATH = "/api/users/notifications"


async def test_nothing_is_told_by_default(user: Person) -> None:
    assert await body(await user.get(PATH)) == {"mail": "off", "timezone": "UTC"}


async def test_each_can_be_set_alone(user: Person) -> None:
    assert await body(await user.put(PATH, json={"mail": "each"})) == {"mail": "each", "timezone": "UTC"}
    changed = await body(await user.put(PATH, json={"timezone": "Europe/Berlin"}))
    assert changed == {"mail": "each", "timezone": "Europe/Berlin"}
    assert await body(await user.get(PATH)) == changed
    assert (await body(await user.put(PATH, json={"mail": "off"})))["timezone"] == "Europe/Berlin"


async def test_what_is_turned_on_begins_with_what_comes(user: Person, sql: asyncpg.Connection) -> None:
    await user.receive()
    await body(await user.put(PATH, json={"mail": "daily"}))
    query = (
        "SELECT n.told_cursor = i.cursor AND i.watch = 8"
        " FROM notifications AS n JOIN inboxes AS i USING (user_id) WHERE user_id = $1"
    )
    assert await sql.fetchval(query, user.id)


async def test_refuses_what_it_does_not_know(user: Person) -> None:
    for field, wrong in (
        ("mail", ["", "weekly", None, 1, True, [], "each "]),
        ("timezone", ["", "Mars", "../UTC", None, 1, [], {}, "x" * 999]),
    ):
        for value in wrong:
            found = await problem(await user.put(PATH, json={field: value}), 422, "invalid")
            assert list(found["errors"]) == [field]
    await problem(await user.put(PATH, json={}), 422, "invalid")
    assert await body(await user.get(PATH)) == {"mail": "off", "timezone": "UTC"}


async def test_needs_a_token(client: TestClient) -> None:
    await problem(await client.get(PATH), 401, "unauthorized")
    await problem(await client.put(PATH, json={"mail": "off"}), 401, "unauthorized")


async def test_goes_with_the_account(user: Person, sql: asyncpg.Connection) -> None:
    await body(await user.put(PATH, json={"mail": "each"}))
    await user.receive()
    await nothing(await user.delete("/api/users/profile", json={"current_password": user.password}))
    for table in ("notifications", "jobs", "email_verifications"):
        assert await sql.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = $1", user.id) == 0
