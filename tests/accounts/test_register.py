"""POST /api/auth/register."""

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg
import jwt
import pytest
from aiohttp.test_utils import TestClient

from fw.accounts.passwords import common_passwords
from fw.routes import ROUTES
from tests.conftest import MakeClient
from tests.support.bad_fields import BAD_EMAILS, BAD_IMAGES, BAD_PASSWORDS, BAD_USERNAMES, IMAGE
from tests.support.people import PASSWORD, Person, body, make_person, nothing, problem

PATH = "/api/auth/register"


def fields(**changed: Any) -> dict[str, Any]:
    """Make a registration that works, unless what is changed breaks it."""
    unique = uuid4().hex[:12]
    return {"email": f"{unique}@example.com", "username": f"u{unique}", "password": PASSWORD, **changed}


async def refused(client: TestClient, field: str, value: Any) -> None:
    found = await problem(await client.post(PATH, json=fields(**{field: value})), 422, "invalid")
    assert list(found["errors"]) == [field], (value, found)


async def test_makes_an_account_and_logs_it_in(client: TestClient) -> None:
    asked = fields()
    answer = await body(await client.post(PATH, json=asked), 201)
    assert answer.keys() == {"user", "access_token", "token_type", "expires_in"}
    assert answer["token_type"] == "bearer"
    assert answer["expires_in"] == 86400
    user = answer["user"]
    created_at = user.pop("created_at")
    assert created_at.endswith("Z")
    assert user == {
        "id": user["id"],
        "email": asked["email"],
        "username": asked["username"],
        "is_premium": False,
        "last_login": None,
        "profile_image": None,
        "email_verified": False,
    }
    found = await body(await client.get("/api/auth/me", headers={"Authorization": f"Bearer {answer['access_token']}"}))
    assert found == {**user, "created_at": created_at, "unread_count": 0}


async def test_opens_an_inbox(user: Person) -> None:
    await user.receive("First!")
    assert [item["message"] for item in (await user.inbox())["items"]] == ["First!"]


async def test_keeps_the_username_as_typed(client: TestClient) -> None:
    name = f"A-b_{uuid4().hex[:12]}Z"
    assert (await make_person(client, username=name)).username == name


async def test_takes_usernames_of_3_to_30_characters(client: TestClient) -> None:
    for length in (3, 30):
        name = uuid4().hex[:length]
        assert (await make_person(client, username=name)).username == name


async def test_keeps_the_case_of_the_local_part_and_folds_the_domain(client: TestClient) -> None:
    unique = uuid4().hex[:12]
    assert (await make_person(client, email=f"Ann.{unique}+FW@EXAMPLE.com")).email == f"Ann.{unique}+FW@example.com"


async def test_keeps_a_profile_image(client: TestClient) -> None:
    hosts = ("https://[::1]", "https://[2001:db8::ffff:192.0.2.1]:8443/a", "https://[1:2:3:4:5:6:7:8]/")
    for image in (IMAGE, "HTTPS://example.com:8443/ä?b=c&d#e", *hosts, f"{IMAGE}{'a' * (2000 - len(IMAGE))}", None):
        answer = await body(await client.post(PATH, json=fields(profile_image=image)), 201)
        assert answer["user"]["profile_image"] == image


async def test_refuses_what_is_no_email(client: TestClient) -> None:
    for email in BAD_EMAILS:
        await refused(client, "email", email)


async def test_refuses_what_is_no_username(client: TestClient) -> None:
    for username in BAD_USERNAMES:
        await refused(client, "username", username)


async def test_refuses_what_is_no_password(client: TestClient) -> None:
    for password in BAD_PASSWORDS:
        await refused(client, "password", password)


async def test_refuses_what_is_no_profile_image(client: TestClient) -> None:
    for image in BAD_IMAGES:
        await refused(client, "profile_image", image)


async def test_refuses_reserved_usernames(client: TestClient) -> None:
    for name in ("admin", "ADMIN", "api", "support", "root", "feedbackwave"):
        await refused(client, "username", name)


async def test_reserves_every_literal_that_stands_where_a_username_could(client: TestClient) -> None:
    paths = [line.path.split("/")[1:] for line in ROUTES]
    literals = {path[2] for path in paths if len(path) > 2 and path[1] in ("users", "feedback")}
    literals = {literal for literal in literals if not literal.startswith("{")}
    assert literals >= {"profile", "premium", "changes", "read"}
    for literal in literals | {"me"}:
        if len(literal) > 2:
            await refused(client, "username", literal)


async def test_takes_any_password_of_8_to_256_characters(client: TestClient) -> None:
    for password in ("zqxjkvbw", "        ", "x" * 255 + "y", "🔑🚪🪟🧱🪜🧹🪣🧺", "\t leading and trailing \n"):
        person = await make_person(client, password=password)
        await body(await client.post("/api/auth/login", json={"login": person.username, "password": password}))


async def test_refuses_common_passwords_in_any_case(client: TestClient) -> None:
    assert len(common_passwords()) >= 3000
    for password in ("password", "PassWord", "1234567890", "qwertyuiop"):
        await refused(client, "password", password)


async def test_refuses_a_password_that_is_the_username_or_the_email(client: TestClient) -> None:
    asked = fields()
    for password in (asked["username"], asked["username"].upper(), asked["email"], asked["email"].upper()):
        found = await problem(await client.post(PATH, json={**asked, "password": password}), 422, "invalid")
        assert list(found["errors"]) == ["password"]
    await body(await client.post(PATH, json=asked), 201)


async def test_names_every_field_that_is_missing(client: TestClient) -> None:
    found = await problem(await client.post(PATH, json={}), 422, "invalid")
    assert found["errors"].keys() == {"email", "username", "password"}


async def test_refuses_unknown_fields(client: TestClient) -> None:
    for field in ("is_premium", "id", "email_verified", "__proto__"):
        await refused(client, field, True)


async def test_refuses_an_email_that_is_taken_in_any_case(client: TestClient, user: Person) -> None:
    for email in (user.email, user.email.upper()):
        await problem(await client.post(PATH, json=fields(email=email)), 409, "email-taken")


async def test_refuses_a_username_that_is_taken_in_any_case(client: TestClient, user: Person) -> None:
    for username in (user.username, user.username.upper()):
        await problem(await client.post(PATH, json=fields(username=username)), 409, "username-taken")


async def test_leaves_nothing_behind_where_it_fails(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    asked = fields(username=user.username)
    await problem(await client.post(PATH, json=asked), 409, "username-taken")
    assert await sql.fetchval("SELECT count(*) FROM users WHERE email = $1", asked["email"]) == 0
    await body(await client.post(PATH, json={**asked, "username": f"x{user.username}"}), 201)


@pytest.mark.parametrize("field", ["username", "email"])
async def test_of_many_at_once_exactly_one_gets_the_name(client: TestClient, field: str) -> None:
    wanted = {field: fields()[field]}
    answers = await asyncio.gather(*(client.post(PATH, json=fields(**wanted)) for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7
    for answer in answers:
        if answer.status == 409:
            await problem(answer, 409, f"{field}-taken")


async def test_keeps_no_password(user: Person, sql: asyncpg.Connection) -> None:
    hashed = await sql.fetchval("SELECT hashed_password FROM users WHERE id = $1", user.id)
    assert hashed.startswith("$2b$04$")
    assert user.password not in hashed


async def test_notes_the_program_that_registers(client: TestClient, sql: asyncpg.Connection) -> None:
    answer = await body(await client.post(PATH, json=fields(), headers={"User-Agent": "Ä🦊" * 150}), 201)
    agent = await sql.fetchval("SELECT user_agent FROM sessions WHERE user_id = $1", answer["user"]["id"])
    assert agent == "Ä🦊" * 100


async def test_a_token_lives_as_long_as_is_configured(make_client: MakeClient) -> None:
    client = await make_client(jwt_ttl=3600)
    answer = await body(await client.post(PATH, json=fields()), 201)
    claims = jwt.decode(answer["access_token"], options={"verify_signature": False})
    assert answer["expires_in"] == claims["exp"] - claims["iat"] == 3600


async def test_names_are_free_again_after_a_deletion(client: TestClient, user: Person) -> None:
    await nothing(await user.delete("/api/users/profile", json={"current_password": user.password}))
    again = await make_person(client, email=user.email, username=user.username)
    assert again.id != user.id
    assert (await again.inbox())["total_count"] == 0
