"""Sessions by cookie, for the pages: no script can read the token, and no other site can use it."""

from http.cookies import SimpleCookie
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientResponse, WSServerHandshakeError
from aiohttp.test_utils import TestClient

from tests.conftest import MakeClient
from tests.support.people import PASSWORD, Person, body, nothing, problem

OTHERS = [
    "https://evil.example",
    "null",
    "http://127.0.0.1:1",
    "",
    "http://127.0.0.1.evil.example",
    "https://user@",
    "x" * 5000,
]


class Page:
    """A page of the server: its requests carry the cookie that the browser keeps, and its origin."""

    def __init__(self, client: TestClient, cookie: str) -> None:
        self.client, self.cookie = client, cookie

    @property
    def origin(self) -> str:
        return str(self.client.make_url("/")).rstrip("/")

    async def call(self, method: str, path: str, *, origin: str | None = "", **options: Any) -> ClientResponse:
        headers = {"Cookie": self.cookie, **options.pop("headers", {})}
        if origin is not None:
            headers["Origin"] = origin or self.origin
        return await self.client.request(method, path, headers=headers, **options)


def cookie_of(response: ClientResponse) -> Any:
    """Return the one cookie that an answer sets."""
    found = SimpleCookie(response.headers["Set-Cookie"])
    assert len(found) == 1
    return next(iter(found.values()))


@pytest.fixture
async def user_page(client: TestClient, user: Person) -> Page:
    response = await client.post("/api/auth/login", json={"login": user.username, "password": PASSWORD, "session": "cookie"})
    cookie = cookie_of(response)
    client.session.cookie_jar.clear()
    return Page(client, f"{cookie.key}={cookie.value}")


async def test_the_answer_has_no_token_and_the_cookie_is_for_no_script(make_client: MakeClient) -> None:
    client, name = await make_client(), f"u{uuid4().hex[:12]}"
    asked = {"email": f"{name}@example.com", "username": name, "password": PASSWORD, "session": "cookie"}
    for path, status, fields in (
        ("register", 201, asked),
        ("login", 200, {"login": name, "password": PASSWORD, "session": "cookie"}),
    ):
        response = await client.post(f"/api/auth/{path}", json=fields)
        answer = await body(response, status)
        assert answer.keys() == {"user", "expires_in"}
        assert answer["user"]["username"] == name
        cookie = cookie_of(response)
        assert cookie.key == "fw"
        assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/", "")
        assert int(cookie["max-age"]) == answer["expires_in"]
        assert cookie["domain"] == ""


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"public_url": "https://feedback.example"}, {}),
        ({"trusted_proxies": 1}, {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}),
        ({"trusted_proxies": 1}, {"X-Forwarded-Proto": "http, https", "X-Forwarded-For": "192.0.2.1"}),
    ],
)
async def test_by_https_the_cookie_is_secure_and_bound_to_its_host(
    make_client: MakeClient, settings: dict[str, Any], headers: dict[str, str], user: Person
) -> None:
    client = await make_client(**settings)
    asked = {"login": user.username, "password": PASSWORD, "session": "cookie"}
    response = await client.post("/api/auth/login", json=asked, headers=headers)
    cookie = cookie_of(response)
    assert cookie.key == "__Host-fw"
    assert cookie["secure"] is True
    sent = {**headers, "Cookie": f"__Host-fw={cookie.value}"}
    assert (await body(await client.get("/api/auth/me", headers=sent)))["username"] == user.username
    # Another subdomain may set a cookie of the other name.
    await problem(await client.get("/api/auth/me", headers={**headers, "Cookie": f"fw={cookie.value}"}), 401, "unauthorized")
    plain = {**sent, "Origin": f"http://{client.host}:{client.port}"}
    await problem(await client.post("/api/auth/logout", headers=plain), 403, "forbidden")
    secure = {**sent, "Origin": settings.get("public_url") or f"https://{client.host}:{client.port}"}
    await nothing(await client.post("/api/auth/logout", headers=secure))


async def test_nobody_believes_a_proxy_that_is_not_trusted(client: TestClient, user: Person) -> None:
    asked = {"login": user.username, "password": PASSWORD, "session": "cookie"}
    response = await client.post("/api/auth/login", json=asked, headers={"X-Forwarded-Proto": "https"})
    assert cookie_of(response).key == "fw"


async def test_a_page_reads_and_changes(user_page: Page, user: Person) -> None:
    item = await user.receive()
    assert (await body(await user_page.call("GET", "/api/feedback", origin=None)))["items"][0]["id"] == item
    assert (await body(await user_page.call("PATCH", f"/api/feedback/{item}/read")))["is_read"] is True
    await nothing(await user_page.call("DELETE", f"/api/feedback/{item}"))


@pytest.mark.parametrize("origin", [*OTHERS, None])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_no_other_page_changes_anything(user_page: Page, user: Person, method: str, origin: str | None) -> None:
    path = {"POST": "/api/feedback/read", "PUT": "/api/users/profile", "PATCH": "/api/users/premium"}.get(method)
    headers = {} if origin is None else {"Origin": origin}
    response = await user_page.client.request(
        method, path or "/api/auth/sessions", headers={"Cookie": user_page.cookie, **headers}, json={"username": "taken-over"}
    )
    await problem(response, 403, "forbidden")
    assert (await body(await user.get("/api/auth/me")))["username"] == user.username


async def test_a_page_that_may_call_the_api_may_not_use_the_cookie(make_client: MakeClient, user: Person) -> None:
    client = await make_client(cors_origins=frozenset({"https://other.example"}))
    asked = {"login": user.username, "password": PASSWORD, "session": "cookie"}
    refused = await client.post("/api/auth/login", json=asked, headers={"Origin": "https://other.example"})
    await problem(refused, 403, "forbidden")
    assert "Set-Cookie" not in refused.headers
    assert "Access-Control-Allow-Credentials" not in refused.headers
    cookie = cookie_of(await client.post("/api/auth/login", json=asked))
    with pytest.raises(WSServerHandshakeError) as failed:
        await client.ws_connect(
            "/api/feedback/live", headers={"Cookie": f"fw={cookie.value}", "Origin": "https://other.example"}
        )
    assert failed.value.status == 403


async def test_a_bearer_token_goes_before_the_cookie(user_page: Page, make_user: Any, client: TestClient) -> None:
    other = await make_user()
    sent = {**other.headers, "Cookie": user_page.cookie}
    assert (await body(await client.get("/api/auth/me", headers=sent)))["id"] == other.id
    await problem(await client.get("/api/auth/me", headers={**sent, "Authorization": "Bearer x.y.z"}), 401, "unauthorized")


async def test_logout_takes_the_cookie_away_and_ends_the_session(user_page: Page) -> None:
    response = await user_page.call("POST", "/api/auth/logout")
    await nothing(response)
    cookie = cookie_of(response)
    assert (cookie.key, cookie.value, cookie["max-age"], cookie["path"]) == ("fw", "", "0", "/")
    await problem(await user_page.call("GET", "/api/auth/me"), 401, "unauthorized")


async def test_a_deleted_account_takes_its_cookie_along(user_page: Page) -> None:
    response = await user_page.call("DELETE", "/api/users/profile", json={"current_password": PASSWORD})
    await nothing(response)
    assert cookie_of(response)["max-age"] == "0"


@pytest.mark.parametrize("protocols", [(), ("feedbackwave",)])
async def test_the_live_channel_opens_by_cookie_for_own_pages(
    user_page: Page, user: Person, protocols: tuple[str, ...]
) -> None:
    headers = {"Cookie": user_page.cookie, "Origin": user_page.origin}
    async with user_page.client.ws_connect("/api/feedback/live", headers=headers, protocols=protocols) as ws:
        assert (await ws.receive_json())["event"] == "hello"
        assert ws.protocol == ("feedbackwave" if protocols else None)
        await user.receive("Seen at once")
        assert (await ws.receive_json())["feedback"]["message"] == "Seen at once"
        await nothing(await user_page.call("POST", "/api/auth/logout"))
        assert (await ws.receive()).data == 4401


@pytest.mark.parametrize("origin", [None, *OTHERS[:4]])
async def test_the_live_channel_opens_by_cookie_for_no_other_page(user_page: Page, origin: str | None) -> None:
    headers = {"Cookie": user_page.cookie, **({} if origin is None else {"Origin": origin})}
    with pytest.raises(WSServerHandshakeError) as failed:
        await user_page.client.ws_connect("/api/feedback/live", headers=headers)
    assert failed.value.status == 403


async def test_a_dead_cookie_is_told_by_the_close_code(user_page: Page) -> None:
    await nothing(await user_page.call("POST", "/api/auth/logout"))
    headers = {"Cookie": user_page.cookie, "Origin": user_page.origin}
    async with user_page.client.ws_connect("/api/feedback/live", headers=headers) as ws:
        assert (await ws.receive()).data == 4401


async def test_another_way_is_refused(client: TestClient, user: Person) -> None:
    asked = {"login": user.username, "password": PASSWORD, "session": "header"}
    assert "session" in (await problem(await client.post("/api/auth/login", json=asked), 422, "invalid"))["errors"]


async def test_ending_the_others_leaves_the_caller_in(user: Person, client: TestClient) -> None:
    other = await body(await client.post("/api/auth/login", json={"login": user.username, "password": PASSWORD}))
    headers = {"Authorization": f"Bearer {other['access_token']}"}
    async with client.ws_connect("/api/feedback/live", headers=headers) as ws:
        assert (await ws.receive_json())["event"] == "hello"
        await nothing(await user.delete("/api/auth/sessions"))
        assert (await ws.receive()).data == 4401
    await problem(await client.get("/api/auth/me", headers=headers), 401, "unauthorized")
    assert (await body(await user.get("/api/auth/me")))["id"] == user.id
    # Once more: there is none left to end.
    await nothing(await user.delete("/api/auth/sessions"))


async def test_the_cookie_is_found_among_others(user_page: Page, client: TestClient, user: Person) -> None:
    for others in ("a=1; {}", "{}; a=1", "xfw=2; a; {};b", "fw2=1; {}", "@;" * 2000 + " {}"):
        response = await client.get("/api/auth/me", headers={"Cookie": others.format(user_page.cookie)})
        assert (await body(response))["id"] == user.id
    for wrong in ("fw", "fw=", "xfw=1", "a=fw=1", "fw=x; a=1", "Fw=1"):
        await problem(await client.get("/api/auth/me", headers={"Cookie": wrong}), 401, "unauthorized")
