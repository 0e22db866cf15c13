"""PATCH /api/users/premium, by users and by the billing system."""

import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw.accounts.tokens import BILLING, TOKENS
from fw.database.pool import DATABASE
from fw.routes import ROUTES
from fw.web.route import Access
from tests.conftest import MakeClient, MakeUser
from tests.support.people import Person, body, make_person, problem

PATH = "/api/users/premium"

MakeService = Callable[..., Awaitable["Service"]]


class Service:
    """Another system with a token of its own."""

    def __init__(self, client: TestClient, session_id: str, token: str) -> None:
        self.client = client
        self.session_id = session_id
        self.headers = {"Authorization": f"Bearer {token}"}

    async def set(self, username: Any, is_premium: Any) -> Any:
        return await self.client.patch(PATH, json={"username": username, "is_premium": is_premium}, headers=self.headers)


@pytest.fixture
async def make_service(client: TestClient) -> MakeService:
    async def make(scope: str = BILLING, life: timedelta = timedelta(days=1)) -> Service:
        app = client.app
        ticket = app[TOKENS].issue_service(scope, life)
        await app[DATABASE].change("sessions.open_service", ticket.session_id, scope, ticket.expires_at)
        return Service(client, ticket.session_id, ticket.token)

    return make


@pytest.fixture
async def billing(make_service: MakeService) -> Service:
    return await make_service()


async def is_premium(user: Person) -> bool:
    return bool((await body(await user.get("/api/auth/me")))["is_premium"])


async def test_users_do_not_give_themselves_premium(user: Person) -> None:
    for asked in ({"is_premium": True}, {"is_premium": True, "username": user.username}):
        await problem(await user.patch(PATH, json=asked), 403, "forbidden")
    assert not await is_premium(user)


async def test_users_may_give_themselves_premium_where_that_is_configured(make_client: MakeClient) -> None:
    client = await make_client(premium_self_service=True)
    user = await make_person(client)
    for state in (True, False, True):
        found = await body(await user.patch(PATH, json={"is_premium": state}))
        assert found["is_premium"] is state
        assert {**found, "unread_count": 0} == await body(await user.get("/api/auth/me"))


async def test_users_may_always_give_premium_up(user: Person, billing: Service) -> None:
    await body(await billing.set(user.username, True))
    assert (await body(await user.patch(PATH, json={"is_premium": False})))["is_premium"] is False
    assert (await body(await user.patch(PATH, json={"is_premium": False})))["is_premium"] is False


async def test_users_may_name_themselves_in_any_case(user: Person, billing: Service) -> None:
    await body(await billing.set(user.username, True))
    await body(await user.patch(PATH, json={"is_premium": False, "username": user.username.upper()}))
    assert not await is_premium(user)


async def test_users_set_nothing_for_others(make_client: MakeClient, make_user: MakeUser) -> None:
    user, other = await make_person(await make_client(premium_self_service=True)), await make_user()
    for name in (other.username, "nobody-of-that-name"):
        for state in (True, False):
            await problem(await user.patch(PATH, json={"is_premium": state, "username": name}), 403, "forbidden")


async def test_refuses_what_is_no_setting(user: Person) -> None:
    settings: list[tuple[str, dict[str, Any]]] = [
        ("is_premium", {}),
        *(("is_premium", {"is_premium": value}) for value in ("true", 1, 0, None, [], {})),
        *(("username", {"is_premium": False, "username": value}) for value in ("", 1, None, [], "a\0b", "\ud800")),
        ("until", {"is_premium": False, "until": "2030-01-01"}),
    ]
    for field, asked in settings:
        found = await problem(await user.patch(PATH, json=asked), 422, "invalid")
        assert list(found["errors"]) == [field], asked


async def test_needs_a_token(client: TestClient) -> None:
    await problem(await client.patch(PATH, json={"is_premium": False}), 401, "unauthorized")


async def test_billing_sets_premium_for_a_name_in_any_case(user: Person, make_user: MakeUser, billing: Service) -> None:
    other = await make_user()
    found = await body(await billing.set(user.username.upper(), True))
    assert {**found, "unread_count": 0} == await body(await user.get("/api/auth/me"))
    assert found["is_premium"] is True
    assert not await is_premium(other)
    assert (await body(await billing.set(user.username, False)))["is_premium"] is False


async def test_premium_is_public(user: Person, billing: Service) -> None:
    await body(await billing.set(user.username, True))
    assert (await body(await billing.client.get(f"/api/users/{user.username}")))["is_premium"] is True


async def test_billing_has_to_name_somebody(billing: Service) -> None:
    response = await billing.client.patch(PATH, json={"is_premium": True}, headers=billing.headers)
    assert list((await problem(response, 422, "invalid"))["errors"]) == ["username"]


async def test_billing_for_an_unknown_name_is_not_found(billing: Service) -> None:
    for name in ("nobody-of-that-name", "ann@example.com", "no name at all", "x" * 320):
        await problem(await billing.set(name, True), 404, "not-found")


async def test_a_billing_token_can_do_nothing_else(billing: Service) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    owners = [line for line in ROUTES if line.access is Access.OWNER]
    assert len(owners) > 10
    for line in owners:
        path = re.sub(r"\{\w+\}", nobody, line.path)
        await problem(await billing.client.request(line.method, path, json={}, headers=billing.headers), 403, "forbidden")


async def test_a_revoked_billing_token_is_refused_at_once(user: Person, billing: Service, sql: asyncpg.Connection) -> None:
    await body(await billing.set(user.username, True))
    await sql.execute("UPDATE service_tokens SET revoked_at = now() WHERE id = $1", billing.session_id)
    await problem(await billing.set(user.username, False), 401, "unauthorized")
    assert await is_premium(user)


async def test_an_expired_billing_token_is_refused(user: Person, make_service: MakeService) -> None:
    late = await make_service(life=timedelta(seconds=-1))
    await problem(await late.set(user.username, True), 401, "unauthorized")


async def test_a_billing_token_that_was_never_kept_is_refused(client: TestClient, user: Person) -> None:
    ticket = client.app[TOKENS].issue_service(BILLING, timedelta(days=1))
    stranger = Service(client, ticket.session_id, ticket.token)
    await problem(await stranger.set(user.username, True), 401, "unauthorized")


async def test_a_token_of_another_scope_sets_nothing(user: Person, make_service: MakeService) -> None:
    other = await make_service(scope="statistics")
    assert (await other.set(user.username, True)).status in (401, 403)
    assert not await is_premium(user)
