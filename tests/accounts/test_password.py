"""POST /api/auth/password and POST /api/auth/reset."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from tests.conftest import MakeClient, MakeUser
from tests.support.passwords import CHANGE, LOGIN, NEW, RESET, change, offer_reset
from tests.support.people import PASSWORD, Person, body, nothing, problem

Offer = Callable[..., Awaitable[str]]


@pytest.fixture
def offer(sql: asyncpg.Connection) -> Offer:
    """Make reset tokens."""
    return partial(offer_reset, sql)


async def log_in(user: Person, password: str) -> int:
    return (await user.client.post(LOGIN, json={"login": user.username, "password": password})).status


async def session(client: TestClient, user: Person) -> dict[str, str]:
    """Open another session, and return its headers."""
    answer = await body(await client.post(LOGIN, json={"login": user.username, "password": user.password}))
    return {"Authorization": f"Bearer {answer['access_token']}"}


async def test_changes_the_password(user: Person) -> None:
    await nothing(await change(user, user.password, NEW))
    assert await log_in(user, NEW) == 200
    assert await log_in(user, user.password) == 401


async def test_a_change_ends_all_other_sessions_at_every_server(make_client: MakeClient, user: Person) -> None:
    other = await make_client()
    others = [await session(user.client, user), await session(other, user)]
    await nothing(await change(user, user.password, NEW))
    for headers in others:
        await problem(await other.get("/api/auth/me", headers=headers), 401, "unauthorized")
    await body(await user.get("/api/auth/me"))


async def test_a_change_needs_the_current_password(user: Person) -> None:
    for current in ("something else", "", user.password + " "):
        found = await problem(await change(user, current, NEW), 422, "invalid")
        assert list(found["errors"]) == ["current_password"]
    assert await log_in(user, user.password) == 200


async def test_a_change_touches_nobody_else(user: Person, make_user: MakeUser) -> None:
    other = await make_user()
    await nothing(await change(user, user.password, NEW))
    assert await log_in(other, other.password) == 200
    await body(await other.get("/api/auth/me"))


async def test_a_change_refuses_what_is_no_password(user: Person) -> None:
    for new in ("", "1234567", "x" * 257, "PASSWORD", "long enough\0", "long enough\ud800", 12345678, None, []):
        found = await problem(await change(user, user.password, new), 422, "invalid")
        assert list(found["errors"]) == ["new_password"]
    assert await log_in(user, user.password) == 200


async def test_a_change_refuses_the_own_names(user: Person) -> None:
    for new in (user.username, user.username.upper(), user.email, user.email.upper()):
        found = await problem(await change(user, user.password, new), 422, "invalid")
        assert list(found["errors"]) == ["new_password"]


async def test_a_change_needs_both_passwords(user: Person) -> None:
    for given, missing in (("current_password", "new_password"), ("new_password", "current_password")):
        found = await problem(await user.post(CHANGE, json={given: PASSWORD}), 422, "invalid")
        assert list(found["errors"]) == [missing]


async def test_a_change_ends_every_reset_token(client: TestClient, user: Person, offer: Offer) -> None:
    tokens = [await offer(user), await offer(user)]
    await nothing(await change(user, user.password, NEW))
    for token in tokens:
        found = await problem(await client.post(RESET, json={"token": token, "new_password": "another one"}), 422, "invalid")
        assert list(found["errors"]) == ["token"]
    assert await log_in(user, NEW) == 200


async def test_another_email_ends_every_reset_token_and_another_spelling_none(
    client: TestClient, user: Person, offer: Offer
) -> None:
    kept = await offer(user)
    for asked in ({"email": user.email.title()}, {"username": f"x{user.username}"}):
        await body(await user.put("/api/users/profile", json=asked))
    await nothing(await client.post(RESET, json={"token": kept, "new_password": NEW}))
    headers = await session(client, replace(user, username=user.email, password=NEW))
    token = await offer(user)
    asked = {"email": f"x{user.email}", "current_password": NEW}
    await body(await client.put("/api/users/profile", json=asked, headers=headers))
    await problem(await client.post(RESET, json={"token": token, "new_password": "another one"}), 422, "invalid")


async def test_a_change_needs_a_token(client: TestClient) -> None:
    asked = {"current_password": PASSWORD, "new_password": NEW}
    await problem(await client.post(CHANGE, json=asked), 401, "unauthorized")


async def test_of_several_changes_at_once_one_wins(user: Person) -> None:
    wanted = [f"new password {number}" for number in range(4)]
    answers = await asyncio.gather(*(change(user, user.password, new) for new in wanted))
    assert sorted(answer.status for answer in answers) == [204, 422, 422, 422]
    for new, answer in zip(wanted, answers, strict=True):
        assert await log_in(user, new) == (200 if answer.status == 204 else 401)


async def test_64_characters_of_four_bytes_can_be_set(user: Person) -> None:
    await nothing(await change(user, user.password, "🔑" * 64))
    assert await log_in(user, "🔑" * 64) == 200
    assert await log_in(user, "🔑" * 63) == 401


async def test_a_reset_sets_the_password_and_ends_all_sessions(client: TestClient, user: Person, offer: Offer) -> None:
    others = [await session(client, user), user.headers]
    await nothing(await client.post(RESET, json={"token": await offer(user), "new_password": NEW}))
    for headers in others:
        await problem(await client.get("/api/auth/me", headers=headers), 401, "unauthorized")
    assert await log_in(user, NEW) == 200
    assert await log_in(user, user.password) == 401


async def test_a_reset_token_works_once(client: TestClient, user: Person, offer: Offer) -> None:
    token = await offer(user)
    await nothing(await client.post(RESET, json={"token": token, "new_password": NEW}))
    found = await problem(await client.post(RESET, json={"token": token, "new_password": "another one"}), 422, "invalid")
    assert list(found["errors"]) == ["token"]
    assert await log_in(user, NEW) == 200


async def test_a_reset_token_works_once_even_if_used_at_once(client: TestClient, user: Person, offer: Offer) -> None:
    token = await offer(user)
    wanted = [f"new password {number}" for number in range(4)]
    answers = await asyncio.gather(*(client.post(RESET, json={"token": token, "new_password": new}) for new in wanted))
    assert sorted(answer.status for answer in answers) == [204, 422, 422, 422]
    for new, answer in zip(wanted, answers, strict=True):
        assert await log_in(user, new) == (200 if answer.status == 204 else 401)


async def test_a_reset_uses_up_all_tokens_of_the_account(client: TestClient, user: Person, offer: Offer) -> None:
    first, second = await offer(user), await offer(user)
    await nothing(await client.post(RESET, json={"token": second, "new_password": NEW}))
    await problem(await client.post(RESET, json={"token": first, "new_password": "another one"}), 422, "invalid")


async def test_a_reset_touches_nobody_else(client: TestClient, user: Person, make_user: MakeUser, offer: Offer) -> None:
    other = await make_user()
    token = await offer(other)
    await nothing(await client.post(RESET, json={"token": await offer(user), "new_password": NEW}))
    assert await log_in(other, other.password) == 200
    await body(await other.get("/api/auth/me"))
    await nothing(await client.post(RESET, json={"token": token, "new_password": NEW}))


async def test_an_expired_reset_token_is_refused(client: TestClient, user: Person, offer: Offer) -> None:
    token = await offer(user, timedelta(seconds=-1))
    found = await problem(await client.post(RESET, json={"token": token, "new_password": NEW}), 422, "invalid")
    assert list(found["errors"]) == ["token"]
    assert await log_in(user, user.password) == 200


async def test_the_hash_of_a_reset_token_is_no_token(client: TestClient, user: Person, offer: Offer) -> None:
    token = await offer(user)
    kept = hashlib.sha256(token.encode()).hexdigest()
    await problem(await client.post(RESET, json={"token": kept, "new_password": NEW}), 422, "invalid")


async def test_any_other_reset_token_is_refused(client: TestClient) -> None:
    for token in ("", "nonsense", "x" * 201, "ü", "a\0b", "\ud800", 1, None, []):
        found = await problem(await client.post(RESET, json={"token": token, "new_password": NEW}), 422, "invalid")
        assert list(found["errors"]) == ["token"]


async def test_a_reset_refuses_bad_passwords_and_keeps_the_token(client: TestClient, user: Person, offer: Offer) -> None:
    token = await offer(user)
    for new in ("1234567", "password", user.username.upper(), user.email.upper(), None):
        found = await problem(await client.post(RESET, json={"token": token, "new_password": new}), 422, "invalid")
        assert list(found["errors"]) == ["new_password"]
    await nothing(await client.post(RESET, json={"token": token, "new_password": NEW}))


async def test_a_reset_token_goes_with_its_account(client: TestClient, user: Person, offer: Offer) -> None:
    token = await offer(user)
    await nothing(await user.delete("/api/users/profile", json={"current_password": user.password}))
    await problem(await client.post(RESET, json={"token": token, "new_password": NEW}), 422, "invalid")
