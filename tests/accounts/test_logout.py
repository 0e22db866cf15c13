"""POST /api/auth/logout."""

import asyncio

import asyncpg
from aiohttp.test_utils import TestClient, TestServer

from fw.web.turns import TURNS
from tests.conftest import MakeClient
from tests.support.people import Person, body, nothing, problem
from tests.support.waiting import until

PATH = "/api/auth/logout"
RENAMING = b'{"username": "somebody-else"}'
Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


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


async def bodies_are_waited_for(user: Person, number: int) -> None:
    """Wait until so many requests of a user are under way, and none of them holds a turn."""
    server, app = user.client.server, user.client.app
    assert isinstance(server, TestServer)
    assert server.runner
    assert server.runner.server
    assert app
    web_server = server.runner.server

    async def are_waited_for() -> bool:
        under_way = sum(handler._current_request is not None for handler in web_server.connections)
        return under_way >= number and user.id not in app[TURNS]._lines

    await until(are_waited_for, "the bodies to be waited for")


async def begin(user: Person, authorization: str) -> Opened:
    """Send a request that changes the username, with the first byte of its body alone."""
    server = user.client.server
    assert isinstance(server, TestServer)
    reader, writer = await asyncio.open_connection(server.host, server.port)
    lines = ("PUT /api/users/profile HTTP/1.1", "Host: x", "Connection: close", f"Authorization: {authorization}")
    fields = ("Content-Type: application/json", f"Content-Length: {len(RENAMING)}")
    writer.write("\r\n".join((*lines, *fields, "", "")).encode() + RENAMING[:1])
    return reader, writer


async def test_a_body_that_comes_after_the_end_of_the_session_is_not_taken(user: Person) -> None:
    reader, writer = await begin(user, user.headers["Authorization"])
    await bodies_are_waited_for(user, 1)
    await nothing(await user.post(PATH))
    writer.write(RENAMING[1:])
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 401 ")
    writer.close()


async def test_a_session_that_has_ended_holds_up_no_other_of_the_account(client: TestClient, user: Person) -> None:
    ended = await log_in(client, user)
    await nothing(await client.post(PATH, headers=ended))
    opened = [await begin(user, ended["Authorization"]) for _ in range(10)]
    for reader, writer in opened:
        assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 401 ")
        writer.close()


async def test_bodies_that_do_not_come_hold_up_no_other_request_of_the_account(user: Person) -> None:
    opened = [await begin(user, user.headers["Authorization"]) for _ in range(10)]
    await bodies_are_waited_for(user, len(opened))
    assert (await user.get("/api/auth/me")).status == 200
    for _, writer in opened:
        writer.close()
