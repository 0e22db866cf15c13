"""What meets a change of the password under way: whoever has the account's lock first, what the old one opened ends."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

import asyncpg
import bcrypt
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from fw.accounts.passwords import digest
from fw.accounts.tokens import TOKENS, Ticket
from fw.database.statements import statements
from tests.conftest import MakeUser
from tests.support.passwords import LOGIN, NEW, RESET, change, offer_reset
from tests.support.people import Person, body, nothing, problem
from tests.support.waiting import someone_waits_for, until

PROFILE = "/api/users/profile"
ROUNDS = 15
AT_ONCE = 6
HASHED = bcrypt.hashpw(digest(NEW), bcrypt.gensalt(4)).decode()

End = Callable[[Person, str], Awaitable[ClientResponse]]
"""What ends sessions; it may use a reset token."""


async def end_by_change(user: Person, token: str) -> ClientResponse:
    return await change(user, user.password, NEW)


async def end_by_reset(user: Person, token: str) -> ClientResponse:
    return await user.client.post(RESET, json={"token": token, "new_password": NEW})


async def end_by_deletion(user: Person, token: str) -> ClientResponse:
    return await user.delete(PROFILE, json={"current_password": user.password})


ENDS = pytest.mark.parametrize("end", [end_by_change, end_by_reset, end_by_deletion])


async def run(sql: asyncpg.Connection, name: str, *arguments: Any) -> Mapping[str, Any] | None:
    """Run a statement of the application, in the transaction that is open here."""
    return await sql.fetchrow(statements()[name], *arguments)


async def open_session(sql: asyncpg.Connection, user: Person) -> Ticket:
    """Open a session as a login does whose password has just been found right."""
    ticket = user.client.app[TOKENS].issue(user.id)
    assert await run(sql, "users.log_in", user.id, 0, ticket.session_id, ticket.expires_at, None, None)
    return ticket


async def live_sessions(sql: asyncpg.Connection, user: Person) -> int:
    return await sql.fetchval("SELECT count(*) FROM sessions WHERE user_id = $1 AND revoked_at IS NULL", user.id)


async def me(user: Person, token: str) -> ClientResponse:
    return await user.client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"})


@ENDS
async def test_a_session_that_is_being_opened_ends_too(user: Person, sql: asyncpg.Connection, end: End) -> None:
    token = await offer_reset(sql, user)
    async with sql.transaction():
        ticket = await open_session(sql, user)
        ending = asyncio.create_task(end(user, token))
        await someone_waits_for(sql)
    await nothing(await ending)
    await problem(await me(user, ticket.token), 401, "unauthorized")
    assert await live_sessions(sql, user) == (1 if end is end_by_change else 0)


@pytest.mark.parametrize(
    ("statement", "arguments"), [("users.change_password", (0, HASHED, str(uuid4()))), ("users.delete", (0,))]
)
async def test_a_login_that_waits_for_the_end_fails(
    client: TestClient, user: Person, sql: asyncpg.Connection, statement: str, arguments: tuple[Any, ...]
) -> None:
    async with sql.transaction():
        assert await run(sql, statement, user.id, *arguments)
        login = asyncio.create_task(client.post(LOGIN, json={"login": user.username, "password": user.password}))
        await someone_waits_for(sql)
    await problem(await login, 401, "wrong-credentials")
    assert await live_sessions(sql, user) == 0


async def log_in_until_refused(user: Person, tokens: list[str]) -> None:
    """Log in again and again, and note the tokens."""
    while True:
        answer = await user.client.post(LOGIN, json={"login": user.username, "password": user.password})
        if answer.status == 401:
            return
        tokens.append((await body(answer))["access_token"])


@ENDS
async def test_no_session_of_many_logins_at_once_survives(make_user: MakeUser, sql: asyncpg.Connection, end: End) -> None:
    for _ in range(ROUNDS):
        user = await make_user()
        token, tokens = await offer_reset(sql, user), list[str]()

        async def enough(tokens: list[str] = tokens) -> bool:
            return len(tokens) > AT_ONCE

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(log_in_until_refused(user, tokens))
            await until(enough, "logins")
            await nothing(await end(user, token))
        for token in tokens:
            await problem(await me(user, token), 401, "unauthorized")


async def test_of_a_change_and_a_reset_at_once_one_wins(user: Person, sql: asyncpg.Connection) -> None:
    token = await offer_reset(sql, user)
    async with sql.transaction():
        assert await run(sql, "users.change_password", user.id, 0, HASHED, str(uuid4()))
        reset = asyncio.create_task(user.client.post(RESET, json={"token": token, "new_password": "another one"}))
        await someone_waits_for(sql)
    found = await problem(await reset, 422, "invalid")
    assert list(found["errors"]) == ["token"]
    assert (await user.client.post(LOGIN, json={"login": user.username, "password": NEW})).status == 200


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("POST", "/api/auth/password", {"new_password": "another one"}),
        ("PUT", PROFILE, {"email": f"{uuid4().hex[:12]}@example.com"}),
        ("DELETE", PROFILE, {}),
    ],
)
async def test_the_old_password_is_good_for_nothing_that_waits_for_a_change(
    user: Person, sql: asyncpg.Connection, method: str, path: str, more: dict[str, str]
) -> None:
    before = await sql.fetchval("SELECT s.id FROM sessions AS s WHERE s.user_id = $1", user.id)
    async with sql.transaction():
        assert await run(sql, "users.change_password", user.id, 0, HASHED, before)
        call = asyncio.create_task(user.call(method, path, json={"current_password": user.password, **more}))
        await someone_waits_for(sql)
    found = await problem(await call, 422, "invalid")
    assert list(found["errors"]) == ["current_password"]
    assert (await body(await me(user, user.token)))["email"] == user.email
    assert (await user.client.post(LOGIN, json={"login": user.username, "password": NEW})).status == 200


async def test_an_email_that_changes_does_not_change_back_without_the_password(user: Person, sql: asyncpg.Connection) -> None:
    """What is sent is still the own address when it is looked at, and another one when it is written."""
    new = f"{uuid4().hex[:12]}@example.com"
    async with sql.transaction():
        await run(sql, "users.update_profile", user.id, new, new, None, False, None, 0, str(uuid4()), b"x")
        call = asyncio.create_task(user.put(PROFILE, json={"email": user.email}))
        await someone_waits_for(sql)
    found = await problem(await call, 422, "invalid")
    assert list(found["errors"]) == ["current_password"]
    assert (await body(await me(user, user.token)))["email"] == new


async def test_a_reset_token_that_is_being_made_goes_with_the_address(user: Person, sql: asyncpg.Connection) -> None:
    asked = {"email": f"{uuid4().hex[:12]}@example.com", "current_password": user.password}
    async with sql.transaction():
        token = await offer_reset(sql, user)
        changing = asyncio.create_task(user.put(PROFILE, json=asked))
        await someone_waits_for(sql)
    await body(await changing)
    await problem(await user.client.post(RESET, json={"token": token, "new_password": NEW}), 422, "invalid")
