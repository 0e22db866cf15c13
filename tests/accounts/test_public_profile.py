"""GET /api/users/{username}."""

from urllib.parse import quote

from aiohttp.test_utils import TestClient
from yarl import URL

from tests.conftest import MakeUser
from tests.support.people import Person, body, nothing, problem


async def test_tells_what_anyone_may_know_and_nothing_else(client: TestClient, make_user: MakeUser) -> None:
    user = await make_user(profile_image="https://example.com/a.png")
    response = await client.get(f"/api/users/{user.username}")
    found = await body(response)
    assert found == {
        "username": user.username,
        "profile_image": "https://example.com/a.png",
        "is_premium": False,
        "created_at": (await body(await user.get("/api/auth/me")))["created_at"],
    }
    text = await response.text()
    assert user.email not in text
    assert user.id not in text


async def test_finds_a_name_in_any_case_and_shows_it_as_typed(client: TestClient, make_user: MakeUser) -> None:
    user = await make_user(username="AbC-" + (await make_user()).username)
    for name in (user.username, user.username.lower(), user.username.upper()):
        assert (await body(await client.get(f"/api/users/{name}")))["username"] == user.username


async def test_an_unknown_name_is_not_found(client: TestClient) -> None:
    for name in ("nobody-of-that-name", "admin", "ab", "x" * 31, "x" * 3000, "a.b", "a b", "änn", "*", "a\0b"):
        url = URL(f"/api/users/{quote(name, safe='')}", encoded=True)
        await problem(await client.get(url), 404, "not-found")


async def test_odd_bytes_in_the_path_are_not_found(client: TestClient) -> None:
    for name in ("%FF%FE", "%ED%A0%80", "%00", "%", "%zz", "..%2Fme", "%2e%2e"):
        await problem(await client.get(URL(f"/api/users/{name}", encoded=True)), 404, "not-found")


async def test_neither_an_email_nor_an_id_is_a_name(client: TestClient, user: Person) -> None:
    for name in (user.email, user.id):
        await problem(await client.get(f"/api/users/{name}"), 404, "not-found")


async def test_is_gone_with_the_account(client: TestClient, user: Person) -> None:
    await nothing(await user.delete("/api/users/profile", json={"current_password": user.password}))
    await problem(await client.get(f"/api/users/{user.username}"), 404, "not-found")


async def test_follows_a_new_name(client: TestClient, user: Person) -> None:
    await body(await user.put("/api/users/profile", json={"username": f"x{user.username}"}))
    await body(await client.get(f"/api/users/x{user.username}"))
    await problem(await client.get(f"/api/users/{user.username}"), 404, "not-found")


async def test_asks_for_no_token_and_minds_no_bad_one(client: TestClient, user: Person) -> None:
    await body(await client.get(f"/api/users/{user.username}", headers={"Authorization": "Bearer nonsense"}))
