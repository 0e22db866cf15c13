"""Cross-origin requests: which pages may call what, and what their browsers are told."""

from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from fw.routes import ROUTES
from fw.web.route import Origins, Route
from tests.conftest import MakeClient
from tests.support.people import Person, body, make_person, nothing, problem

OURS = "https://app.example.com"
ALSO_OURS = "http://localhost:5173"
FOREIGN = "https://anywhere.example"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


@pytest.fixture
async def client(make_client: MakeClient) -> TestClient:
    """A server that lets two origins call its API."""
    return await make_client(cors_origins=frozenset({OURS, ALSO_OURS}))


def fill(path: str) -> str:
    """Put an id where a path has a parameter."""
    for name in ("{id}", "{ref}", "{username}", "{slug}", "{file}"):
        path = path.replace(name, str(uuid4()))
    return path


async def preflight(client: TestClient, method: str, path: str, origin: str, *headers: str) -> ClientResponse:
    """Ask as a browser does before it sends what is not simple."""
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = ",".join(headers)
    return await client.options(path, headers=asked)


def is_open_to(response: ClientResponse, origin: str) -> bool:
    """Tell whether a browser lets a page of this origin read the answer; nobody is ever let in with credentials."""
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert response.headers["Vary"] == "Origin"
    allowed = response.headers.get("Access-Control-Allow-Origin")
    assert allowed in (None, origin)
    return allowed == origin


async def passes(client: TestClient, method: str, path: str, origin: str) -> bool:
    """Tell whether a preflight lets a page of this origin go on."""
    response = await preflight(client, method, path, origin, "authorization", "content-type")
    if not is_open_to(response, origin):
        await problem(response, 403, "forbidden")
        assert "Access-Control-Allow-Methods" not in response.headers
        return False
    assert response.status == 200
    assert method in response.headers["Access-Control-Allow-Methods"]
    allowed = response.headers["Access-Control-Allow-Headers"].lower().replace(" ", "").split(",")
    assert {"authorization", "content-type"} <= set(allowed)
    return True


# The API


@pytest.mark.parametrize("origin", [OURS, ALSO_OURS])
async def test_lets_our_pages_call_the_api(client: TestClient, origin: str) -> None:
    user = await make_person(client)
    assert await passes(client, "GET", "/api/feedback", origin)
    response = await user.get("/api/feedback", headers={"Origin": origin})
    await body(response)
    assert is_open_to(response, origin)


@pytest.mark.parametrize("origin", [FOREIGN, "null", OURS + ":8443", OURS.replace("https", "http"), OURS.upper(), "", "*"])
async def test_lets_no_other_page_call_the_api(client: TestClient, origin: str) -> None:
    user = await make_person(client)
    assert not await passes(client, "GET", "/api/feedback", origin)
    # What comes with a token is answered: it is the browser that keeps the answer from the page.
    assert not is_open_to(await user.get("/api/feedback", headers={"Origin": origin}), origin)


async def test_lets_no_page_call_the_api_where_no_origin_is_named(make_client: MakeClient) -> None:
    client = await make_client()
    assert not await passes(client, "GET", "/api/feedback", OURS)
    assert not is_open_to(await client.get("/api/feedback", headers={"Origin": OURS}), OURS)


@pytest.mark.parametrize("origin", [FOREIGN, "null"])
async def test_lets_every_page_call_the_api_where_a_star_is_named(make_client: MakeClient, origin: str) -> None:
    client = await make_client(cors_origins=frozenset({"*"}))
    user = await make_person(client)
    assert await passes(client, "DELETE", f"/api/feedback/{uuid4()}", origin)
    for response in (
        await user.get("/api/feedback", headers={"Origin": origin}),
        await client.get("/api/feedback", headers={"Origin": origin}),
        await client.get("/nowhere", headers={"Origin": origin}),
    ):
        assert is_open_to(response, origin)


async def test_says_which_headers_a_page_may_read(client: TestClient) -> None:
    response = await client.get("/api/users/nobody-here", headers={"Origin": OURS})
    exposed = response.headers["Access-Control-Expose-Headers"].lower().replace(" ", "").split(",")
    assert {"etag", "location", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id"} <= set(exposed)


async def test_lets_no_page_call_what_is_for_operators(client: TestClient) -> None:
    for origin in (OURS, FOREIGN):
        assert not await passes(client, "GET", "/health", origin)
        assert not is_open_to(await client.get("/health", headers={"Origin": origin}), origin)


# What is public


async def test_lets_every_page_use_a_widget(client: TestClient) -> None:
    widget = await (await make_person(client)).make_widget()
    path = f"/api/widgets/{widget['id']}"
    for origin in (FOREIGN, "null", OURS):
        headers = {"Origin": origin}
        shown = await client.get(f"{path}/config", headers=headers)
        sent = await client.post(f"{path}/feedback", json={"message": "Hi"}, headers=headers)
        counted = await client.post(f"{path}/events", json={"event": "view"}, headers=headers)
        await body(shown)
        await body(sent, 201)
        await nothing(counted)
        assert all(is_open_to(response, origin) for response in (shown, sent, counted))
        assert await passes(client, "GET", f"{path}/config", origin)
        assert await passes(client, "POST", f"{path}/feedback", origin)
        assert await passes(client, "POST", f"{path}/events", origin)


async def test_lets_no_other_page_manage_a_widget(client: TestClient) -> None:
    user = await make_person(client)
    path = f"/api/widgets/{(await user.make_widget())['id']}"
    for method in ("GET", "PUT", "DELETE"):
        assert await passes(client, method, path, OURS)
        assert not await passes(client, method, path, FOREIGN)
    assert not is_open_to(await user.get(path, headers={"Origin": FOREIGN}), FOREIGN)
    assert not is_open_to(await user.get(f"{path}/stats", headers={"Origin": FOREIGN}), FOREIGN)


async def test_lets_every_page_send_feedback_but_only_ours_read_it(client: TestClient) -> None:
    user = await make_person(client)
    sent = await client.post(f"/api/feedback/{user.username}", json={"message": "Hi"}, headers={"Origin": FOREIGN})
    path = f"/api/feedback/{(await body(sent, 201))['id']}"
    assert is_open_to(sent, FOREIGN)
    assert await passes(client, "POST", f"/api/feedback/{user.username}", FOREIGN)
    for origin, is_ours in ((FOREIGN, False), ("null", False), (OURS, True)):
        assert await passes(client, "POST", path, origin)
        assert await passes(client, "GET", path, origin) == is_ours
        assert await passes(client, "DELETE", path, origin) == is_ours
        assert await passes(client, "PATCH", f"{path}/read", origin) == is_ours
        for response in (
            await user.get(path, headers={"Origin": origin}),
            await client.get(path, headers={"Origin": origin}),
            await client.delete(path, headers={"Origin": origin}),
            await user.patch(f"{path}/read", headers={"Origin": origin}),
        ):
            assert is_open_to(response, origin) == is_ours
    assert not is_open_to(await user.delete(path, headers={"Origin": FOREIGN}), FOREIGN)


# Errors


async def refusals(user: Person, origin: str) -> dict[str, ClientResponse]:
    """Make one mistake of each kind from a page of this origin."""
    client, headers = user.client, {"Origin": origin}
    asked: dict[str, Any] = {"email": "x", "username": "x", "password": "x"}
    return {
        "malformed-json": await user.post("/api/widgets", data=b"{", headers={**headers, "Content-Type": "application/json"}),
        "unauthorized": await client.get("/api/auth/me", headers=headers),
        "forbidden": await user.patch("/api/users/premium", json={"is_premium": True}, headers=headers),
        "not-found": await user.get(f"/api/widgets/{uuid4()}", headers=headers),
        "method-not-allowed": await client.put("/api/feedback", headers=headers),
        "too-large": await user.post("/api/widgets", json={"name": "x" * 70000}, headers=headers),
        "unsupported-media-type": await user.post(
            "/api/widgets", data=b"Hi", headers={**headers, "Content-Type": "text/plain"}
        ),
        "invalid": await client.post("/api/auth/register", json=asked, headers=headers),
    }


async def test_lets_our_pages_read_why_they_were_refused(client: TestClient) -> None:
    for slug, response in (await refusals(await make_person(client), OURS)).items():
        await problem(response, response.status, slug)
        assert is_open_to(response, OURS), slug


async def test_lets_no_other_page_read_why_it_was_refused(client: TestClient) -> None:
    for slug, response in (await refusals(await make_person(client), FOREIGN)).items():
        await problem(response, response.status, slug)
        assert not is_open_to(response, FOREIGN), slug


async def test_lets_our_pages_read_that_there_is_no_such_path(client: TestClient) -> None:
    for path in ("/nowhere", "/api/nowhere", "/api/widgets/a/b/c", "/api/feedback/"):
        for origin, is_ours in ((OURS, True), (FOREIGN, False)):
            response = await client.get(path, headers={"Origin": origin})
            await problem(response, 404, "not-found")
            assert is_open_to(response, origin) == is_ours


async def test_lets_our_pages_read_that_the_database_is_away(client: TestClient, make_client: MakeClient) -> None:
    user = await make_person(client)
    user.client = await make_client(database_url=NOWHERE, cors_origins=frozenset({OURS}))
    for origin, is_ours in ((OURS, True), (FOREIGN, False)):
        response = await user.get("/api/feedback", headers={"Origin": origin})
        await problem(response, 503, "unavailable")
        assert is_open_to(response, origin) == is_ours
    response = await user.client.post("/api/feedback/somebody", json={"message": "Hi"}, headers={"Origin": FOREIGN})
    await problem(response, 503, "unavailable")
    assert is_open_to(response, FOREIGN)


# What caches and preflights see


async def test_tells_caches_that_the_origin_matters(client: TestClient) -> None:
    user = await make_person(client)
    path = f"/api/widgets/{(await user.make_widget())['id']}"
    shown = await client.get(f"{path}/config")
    for response, status in (
        (await client.get("/health"), 200),
        (await client.get("/nowhere"), 404),
        (await client.get("/api/feedback"), 401),
        (await client.put("/api/feedback"), 405),
        (await user.get("/api/feedback"), 200),
        (await user.get(path), 200),
        (shown, 200),
        (await client.get(f"{path}/config", headers={"If-None-Match": shown.headers["ETag"]}), 304),
        (await client.post(f"{path}/events", json={"event": "view"}), 204),
        (await client.options(path), 403),
        (await user.delete(path), 204),
    ):
        assert response.status == status
        assert response.headers["Vary"] == "Origin", response.url
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_answers_preflights_without_a_token_or_a_database(make_client: MakeClient, route: Route) -> None:
    client = await make_client(database_url=NOWHERE, cors_origins=frozenset({OURS}))
    path = fill(route.path)
    assert await passes(client, route.method, path, OURS) == (route.origins is not Origins.NONE)
    assert await passes(client, route.method, path, FOREIGN) == (route.origins is Origins.ANY)
    if route.method == "GET":
        assert await passes(client, "HEAD", path, FOREIGN) == (route.origins is Origins.ANY)


async def test_lets_no_page_use_a_method_that_a_path_does_not_have(client: TestClient) -> None:
    for path, method in (("/api/feedback", "DELETE"), ("/api/widgets", "PUT"), (f"/api/widgets/{uuid4()}/config", "POST")):
        assert not await passes(client, method, path, OURS)


async def test_lets_a_preflight_be_remembered(client: TestClient) -> None:
    response = await preflight(client, "POST", "/api/feedback/somebody", FOREIGN, "content-type", "idempotency-key")
    assert int(response.headers["Access-Control-Max-Age"]) >= 60
    assert "idempotency-key" in response.headers["Access-Control-Allow-Headers"].lower()
    assert await response.read() == b""


@pytest.mark.parametrize("path", ["/widget.js", "/api/feedback/nobody", "/nowhere", "/api/feedback"])
async def test_repeats_nothing_that_is_long(make_client: MakeClient, path: str) -> None:
    """A proxy has little room for the head of an answer, and may take the server for one that has failed."""
    client = await make_client(cors_origins=frozenset({"*"}))
    long, names = f"https://{'a' * 5000}", [f"x-{number}-{'a' * 90}" for number in range(40)]
    for method in ("GET", "POST"):
        for response in (
            await client.request(method, path, headers={"Origin": long}),
            await preflight(client, method, path, long),
            await preflight(client, method, path, FOREIGN, *names),
        ):
            assert sum(len(name) + len(value) + 4 for name, value in response.headers.items()) < 2000
            assert response.headers.get("Access-Control-Allow-Origin", FOREIGN) == FOREIGN


async def test_refuses_long_preflights(client: TestClient) -> None:
    await problem(await preflight(client, "GET", "/api/feedback", f"https://{'a' * 300}"), 400, "bad-request")
    await problem(await preflight(client, "GET", "/api/feedback", OURS, "x" * 1001), 400, "bad-request")
    assert is_open_to(await preflight(client, "GET", "/api/feedback", OURS, "x" * 1000), OURS)
