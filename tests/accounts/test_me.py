"""GET /api/auth/me."""

from aiohttp.test_utils import TestClient

from tests.conftest import MakeUser
from tests.support.people import Person, body, nothing, problem

PATH = "/api/auth/me"


async def test_tells_all_of_the_own_account(user: Person) -> None:
    found = await body(await user.get(PATH))
    assert found == {
        "id": user.id,
        "email": user.email,
        "username": user.username,
        "is_premium": False,
        "created_at": found["created_at"],
        "last_login": None,
        "profile_image": None,
        "email_verified": False,
        "unread_count": 0,
    }


async def test_counts_what_is_unread(user: Person) -> None:
    first, second = await user.receive(), await user.receive()
    assert (await body(await user.get(PATH)))["unread_count"] == 2
    await body(await user.patch(f"/api/feedback/{first}/read"))
    assert (await body(await user.get(PATH)))["unread_count"] == 1
    await nothing(await user.delete(f"/api/feedback/{second}"))
    assert (await body(await user.get(PATH)))["unread_count"] == 0


async def test_everybody_sees_themselves(make_user: MakeUser) -> None:
    for person in (await make_user(), await make_user()):
        assert (await body(await person.get(PATH)))["id"] == person.id


async def test_is_not_to_be_stored(user: Person) -> None:
    assert (await user.get(PATH)).headers["Cache-Control"] == "no-store"


async def test_head_has_no_body(user: Person) -> None:
    response = await user.call("HEAD", PATH)
    assert response.status == 200
    assert await response.read() == b""


async def test_ignores_unknown_parameters(user: Person) -> None:
    await body(await user.get(PATH, params={"verbose": "1"}))


async def test_needs_a_token(client: TestClient) -> None:
    response = await client.get(PATH)
    await problem(response, 401, "unauthorized")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_takes_no_token_from_the_url(user: Person) -> None:
    await problem(await user.client.get(PATH, params={"access_token": user.token}), 401, "unauthorized")
