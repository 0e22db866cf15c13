"""POST /api/auth/forgot, and the link that it mails."""

from unittest.mock import patch
from uuid import uuid4

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw.database.pool import Database
from tests.conftest import MakeClient
from tests.support.passwords import LOGIN, NEW, RESET
from tests.support.people import Person, body, nothing, problem
from tests.support.postbox import Postbox, token

FORGOT = "/api/auth/forgot"
SUBJECT = "Set a new password"


@pytest.fixture
async def client(make_client: MakeClient, box: Postbox) -> TestClient:
    return await make_client(**box.settings)


async def test_mails_a_link_that_sets_a_new_password(client: TestClient, user: Person, box: Postbox) -> None:
    await nothing(await client.post(FORGOT, json={"email": user.email.upper()}), 202)
    given = token(await box.mail(user.email, SUBJECT), "reset")
    await nothing(await client.post(RESET, json={"token": given, "new_password": NEW}))
    await body(await client.post(LOGIN, json={"login": user.username, "password": NEW}))
    await problem(await user.get("/api/auth/me"), 401, "unauthorized")
    await problem(await client.post(RESET, json={"token": given, "new_password": f"{NEW} 2"}), 422, "invalid")
    await box.mail(user.email, "Your password was changed")


async def test_a_reset_ends_every_older_link(client: TestClient, user: Person, box: Postbox) -> None:
    for _ in range(2):
        await nothing(await client.post(FORGOT, json={"email": user.email}), 202)
    first, second = [token(await box.mail(user.email, SUBJECT, count=count), "reset") for count in (1, 2)]
    await nothing(await client.post(RESET, json={"token": second, "new_password": NEW}))
    found = await problem(await client.post(RESET, json={"token": first, "new_password": f"{NEW} 2"}), 422, "invalid")
    assert list(found["errors"]) == ["token"]


async def test_a_link_is_good_for_half_an_hour(client: TestClient, user: Person, box: Postbox, sql: asyncpg.Connection) -> None:
    await nothing(await client.post(FORGOT, json={"email": user.email}), 202)
    given = token(await box.mail(user.email, SUBJECT), "reset")
    left = "SELECT extract(epoch FROM expires_at - now()) / 60 FROM password_resets WHERE user_id = $1"
    assert 29 < await sql.fetchval(left, user.id) <= 30
    await sql.execute("UPDATE password_resets SET expires_at = now() WHERE user_id = $1", user.id)
    await problem(await client.post(RESET, json={"token": given, "new_password": NEW}), 422, "invalid")


async def test_does_the_same_whether_there_is_an_account_or_not(
    client: TestClient, user: Person, sql: asyncpg.Connection
) -> None:
    real, asked = Database.change, []

    async def noting(self: Database, name: str, *arguments: object, **options: float) -> object:
        if not name.startswith("outbox."):
            asked.append(name)
        return await real(self, name, *arguments, **options)

    answers = []
    with patch.object(Database, "change", noting):
        for email in (user.email, f"{uuid4().hex}@example.com"):
            answers.append(await client.post(FORGOT, json={"email": email}))
            await nothing(answers[-1], 202)
    assert asked == ["users.forget"] * 2
    assert answers[0].headers.keys() == answers[1].headers.keys()


async def test_counts_what_was_typed_whether_there_is_an_account_or_not(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"forgot-account": (2, 3600)})
    for email in (user.email, f"{uuid4().hex}@example.com"):
        for spelling in (email, email.upper()):
            await nothing(await client.post(FORGOT, json={"email": spelling}), 202)
        await problem(await client.post(FORGOT, json={"email": email}), 429, "too-many-requests")


@pytest.mark.usefixtures("no_attempts_yet")
async def test_counts_addresses(make_client: MakeClient) -> None:
    client = await make_client(rate_limits={"forgot": (2, 3600)}, trusted_proxies=1)
    for number in range(3):
        headers = {"X-Forwarded-For": "192.0.2.1"}
        response = await client.post(FORGOT, json={"email": f"{uuid4().hex}@example.com"}, headers=headers)
        assert response.status == (202 if number < 2 else 429)
    headers = {"X-Forwarded-For": "192.0.2.2"}
    await nothing(await client.post(FORGOT, json={"email": f"{uuid4().hex}@example.com"}, headers=headers), 202)


@pytest.mark.usefixtures("no_attempts_yet")
async def test_counts_a_request_before_it_looks_at_it(make_client: MakeClient) -> None:
    client = await make_client(rate_limits={"forgot": (1, 3600)})
    await problem(await client.post(FORGOT, json={"email": "no address"}), 422, "invalid")
    await problem(await client.post(FORGOT, json={"email": "no address"}), 429, "too-many-requests")


async def test_refuses_what_is_no_address(client: TestClient) -> None:
    for wrong in ("", "x", "a@b", None, 1, [], "a@example.com\r\nBcc: b@example.com", "a\0@example.com"):
        found = await problem(await client.post(FORGOT, json={"email": wrong}), 422, "invalid")
        assert list(found["errors"]) == ["email"]


async def test_nobody_is_mailed_where_there_is_no_account(
    client: TestClient, user: Person, box: Postbox, sql: asyncpg.Connection
) -> None:
    nobody = f"{uuid4().hex}@example.com"
    await nothing(await client.post(FORGOT, json={"email": nobody}), 202)
    await nothing(await client.post(FORGOT, json={"email": user.email}), 202)
    await box.mail(user.email, SUBJECT)
    assert nobody not in box.recipients
