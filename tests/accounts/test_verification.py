"""POST /api/auth/verify and POST /api/auth/verify/resend."""

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from tests.conftest import MakeClient
from tests.support.people import Person, body, make_person, nothing, problem
from tests.support.postbox import Postbox, token

VERIFY = "/api/auth/verify"
RESEND = "/api/auth/verify/resend"


@pytest.fixture
async def client(make_client: MakeClient, box: Postbox) -> TestClient:
    return await make_client(**box.settings)


async def is_verified(user: Person) -> bool:
    return bool((await body(await user.get("/api/auth/me")))["email_verified"])


async def refused(client: TestClient, given: str) -> None:
    found = await problem(await client.post(VERIFY, json={"token": given}), 422, "invalid")
    assert list(found["errors"]) == ["token"]


async def test_verifies_the_address_once(client: TestClient, user: Person, box: Postbox) -> None:
    assert not await is_verified(user)
    given = token(await box.mail(user.email), "verify")
    await nothing(await client.post(VERIFY, json={"token": given}))
    assert await is_verified(user)
    await refused(client, given)
    assert await is_verified(user)


async def test_a_new_token_ends_the_one_before(client: TestClient, user: Person, box: Postbox) -> None:
    first = token(await box.mail(user.email), "verify")
    await nothing(await user.post(RESEND), 202)
    second = token(await box.mail(user.email, count=2), "verify")
    await refused(client, first)
    await nothing(await client.post(VERIFY, json={"token": second}))


async def test_a_token_is_good_for_a_day(client: TestClient, user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    given = token(await box.mail(user.email), "verify")
    left = "SELECT extract(epoch FROM expires_at - now()) / 3600 FROM email_verifications WHERE user_id = $1"
    assert 23.9 < await sql.fetchval(left, user.id) <= 24
    await sql.execute("UPDATE email_verifications SET expires_at = now() WHERE user_id = $1", user.id)
    await refused(client, given)
    assert not await is_verified(user)


async def test_a_token_is_good_for_its_address_alone(client: TestClient, user: Person, box: Postbox) -> None:
    old = token(await box.mail(user.email), "verify")
    await body(await user.put("/api/users/profile", json={"email": f"x{user.email}", "current_password": user.password}))
    await refused(client, old)
    assert not await is_verified(user)


async def test_no_token_is_stored(user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    given = token(await box.mail(user.email), "verify")
    assert len(given) == 43
    for table in ("email_verifications", "jobs"):
        assert given not in str(await sql.fetch(f"SELECT t::text FROM {table} AS t"))


async def test_refuses_what_is_no_token(client: TestClient) -> None:
    for given in ("x", "x" * 200, "💩", "../", "' OR 1=1"):
        await refused(client, given)
    for wrong in ("", "x" * 201, None, 1, "a\0b"):
        await problem(await client.post(VERIFY, json={"token": wrong}), 422, "invalid")


async def test_a_verified_address_is_asked_nothing_again(client: TestClient, user: Person, box: Postbox) -> None:
    await nothing(await client.post(VERIFY, json={"token": token(await box.mail(user.email), "verify")}))
    await nothing(await user.post(RESEND), 202)
    other = await make_person(client)
    await box.mail(other.email)
    assert len(box.to(user.email)) == 1


async def test_at_most_three_an_hour_over_all_processes(make_client: MakeClient) -> None:
    servers = [await make_client(rate_limits={"verification": (3, 3600)}) for _ in range(2)]
    user = await make_person(servers[0])
    for number in range(3):
        await nothing(await servers[number % 2].post(RESEND, headers=user.headers), 202)
    for server in servers:
        response = await server.post(RESEND, headers=user.headers)
        await problem(response, 429, "too-many-requests")
        assert int(response.headers["Retry-After"]) > 3000


async def test_a_resend_needs_a_token(client: TestClient) -> None:
    await problem(await client.post(RESEND), 401, "unauthorized")


async def test_nothing_is_closed_to_the_unverified(user: Person) -> None:
    await user.receive()
    assert (await user.inbox())["total_count"] == 1
    await user.make_widget()
