"""POST /api/auth/logout."""

import asyncio

import asyncpg
from aiohttp.test_utils import TestClient, TestServer

from fw.web.turns import TURNS
from tests.conftest import MakeClient
from tests.support.people import Person, body, nothing, problem
from tests.support.waiting import until

PATH = "/api/auth/logout"


async def log_in(client: TestClient, person: Person) -> dict[str, str]:
    """Open another session, and return its headers."""
    answer = await body(await client.post("/api/auth/login", json={"login": person.username, "password": person.password}))
    return {"Authorization": f"Bearer {answer['access_token']}"}


async def test_ends_the_token(user: Person) -> None:
    await nothing(await user.post(PATH))
    for method, path in (("GET", "/api/auth/me"), ("GET", "/api/feedback"), ("POST", PATH)):
        response = await user.call(method, path)
        await problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


async def test_ends_the_token_at_every_server_at_once(make_client: MakeClient, user: Person) -> None:
    other = await make_client()
    assert (await other.get("/api/auth/me", headers=user.headers)).status == 200
    await nothing(await user.post(PATH))
    await problem(await other.get("/api/auth/me", headers=user.headers), 401, "unauthorized")


async def test_leaves_other_sessions_alone(client: TestClient, user: Person) -> None:
    other = await log_in(client, user)
    await nothing(await client.post(PATH, headers=other))
    await problem(await client.get("/api/auth/me", headers=other), 401, "unauthorized")
    await body(await user.get("/api/auth/me"))


async def test_one_can_log_in_again(client: TestClient, user: Person) -> None:
    await nothing(await user.post(PATH))
    await body(await client.get("/api/auth/me", headers=await log_in(client, user)))


async def test_several_times_at_once_is_no_error(user: Person, sql: asyncpg.Connection) -> None:
    answers = await asyncio.gather(*(user.post(PATH) for _ in range(5)))
    assert {answer.status for answer in answers} <= {204, 401}
    assert 204 in {answer.status for answer in answers}
    assert await sql.fetchval("SELECT count(*) FROM sessions WHERE user_id = $1 AND revoked_at IS NULL", user.id) == 0


async def test_needs_a_token(client: TestClient) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}):
        await problem(await client.post(PATH, headers=headers), 401, "unauthorized")


async def test_takes_no_other_method(user: Person) -> None:
    response = await user.get(PATH)
    await problem(response, 405, "method-not-allowed")
    assert "POST" in response.headers["Allow"].split(", ")


async def test_a_body_that_comes_after_the_end_of_the_session_is_not_taken(user: Person) -> None:
    server = user.client.server
    assert isinstance(server, TestServer)
    raw = b'{"username": "somebody-else"}'
    lines = ("PUT /api/users/profile HTTP/1.1", "Host: x", "Connection: close", f"Authorization: Bearer {user.token}")
    fields = ("Content-Type: application/json", f"Content-Length: {len(raw)}")
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write("\r\n".join((*lines, *fields, "", "")).encode() + raw[:1])
    turns = user.client.app[TURNS] if user.client.app else None
    assert turns
    await until(lambda: asyncio.sleep(0, user.id in turns._lines), "the request to be under way")
    await nothing(await user.post(PATH))
    writer.write(raw[1:])
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 401 ")
    writer.close()
