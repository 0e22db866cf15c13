"""People who use the API, and how their answers are checked."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import TestClient

PASSWORD = "correct horse battery staple"


@dataclass(slots=True)
class Person:
    """A registered user with a token, who calls the API at a client's server."""

    client: TestClient
    id: str
    email: str
    username: str
    password: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def call(self, method: str, path: str, **options: Any) -> ClientResponse:
        headers = {**self.headers, **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)

    async def get(self, path: str, **options: Any) -> ClientResponse:
        return await self.call("GET", path, **options)

    async def post(self, path: str, **options: Any) -> ClientResponse:
        return await self.call("POST", path, **options)

    async def put(self, path: str, **options: Any) -> ClientResponse:
        return await self.call("PUT", path, **options)

    async def patch(self, path: str, **options: Any) -> ClientResponse:
        return await self.call("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> ClientResponse:
        return await self.call("DELETE", path, **options)

    async def receive(self, message: str = "Well done!", **fields: Any) -> str:
        """Have an anonymous sender submit feedback, and return its id."""
        answer = await body(await self.client.post(f"/api/feedback/{self.username}", json={"message": message, **fields}), 201)
        return str(answer["id"])

    async def inbox(self, **query: Any) -> dict[str, Any]:
        """List the inbox."""
        return await body(await self.get("/api/feedback", params=query))

    async def everything(self, **query: Any) -> list[dict[str, Any]]:
        """List all that a query finds, page by page; a page of a search may be short or empty."""
        items: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            page = await self.inbox(**query, **after)
            items += page["items"]
            if page["next"] is None:
                return items
            after = {"after": page["next"]}

    async def changes(self, since: int, **query: Any) -> dict[str, Any]:
        """Read what changed in the inbox after a cursor."""
        return await body(await self.get("/api/feedback/changes", params={"since": since, **query}))

    async def make_widget(self, **fields: Any) -> dict[str, Any]:
        return await body(await self.post("/api/widgets", json={"name": "Corner", "type": "button", **fields}), 201)


async def make_person(client: TestClient, **fields: Any) -> Person:
    """Register somebody with a name of their own."""
    unique = uuid4().hex[:12]
    asked = {"email": f"{unique}@example.com", "username": f"u{unique}", "password": PASSWORD, **fields}
    answer = await body(await client.post("/api/auth/register", json=asked), 201)
    user = answer["user"]
    return Person(client, user["id"], user["email"], user["username"], asked["password"], answer["access_token"])


async def body(response: ClientResponse, status: int = 200) -> Any:
    """Return the JSON of an answer that has to have this status."""
    text = await response.text()
    assert response.status == status, f"{response.method} {response.url}: {response.status} {text}"
    assert response.content_type == "application/json", text
    assert response.headers["X-Request-ID"]
    return await response.json()


async def nothing(response: ClientResponse, status: int = 204) -> None:
    """Check an answer without a body."""
    text = await response.text()
    assert response.status == status, f"{response.method} {response.url}: {response.status} {text}"
    assert text == ""


async def problem(response: ClientResponse, status: int, slug: str) -> dict[str, Any]:
    """Return the problem of an answer that has to be this one (RFC 9457)."""
    text = await response.text()
    assert response.status == status, f"{response.method} {response.url}: {response.status} {text}"
    assert response.content_type == "application/problem+json", text
    found = await response.json()
    assert found["type"] == f"/problems/{slug}", found
    assert found["status"] == status
    assert found["title"]
    assert found["detail"]
    assert found["request_id"] == response.headers["X-Request-ID"]
    assert ("errors" in found) == (slug == "invalid"), found
    return found


async def register(http: ClientSession, url: str, name: str = "somebody") -> dict[str, str]:
    """Register, and return the header that says who calls."""
    asked = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
    async with http.post(f"{url}/api/auth/register", json=asked) as response:
        assert response.status == 201, await response.text()
        return {"Authorization": f"Bearer {(await response.json())['access_token']}"}
