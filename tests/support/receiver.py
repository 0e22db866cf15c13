"""A receiver of webhooks on this machine, and the owner of one."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

from tests.support.people import Person, body
from tests.support.waiting import until

Answer = Callable[["Got"], "web.Response | Awaitable[web.Response]"]


@dataclass(slots=True)
class Got:
    """A request that came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def message(self) -> str:
        return str(self.json["data"]["message"])

    def check(self, secret: str) -> None:
        """Check the signature as a receiver would. Raises `WebhookVerificationError`."""
        assert Webhook(secret).verify(self.body, self.headers) == self.json


@dataclass
class Receiver:
    """Notes what comes in, and answers as a test says: by default with 200."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answer: Answer = lambda got: web.Response()

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(got := Got(request.path, headers, await request.read()))
        answer = self.answer(got)
        return answer if isinstance(answer, web.Response) else await answer

    async def has(self, number: int) -> list[Got]:
        """Wait until so many requests have come."""

        async def enough() -> list[Got]:
            return self.got if len(self.got) >= number else []

        return await until(enough, f"{number} requests; there are {len(self.got)}", seconds=30)


@asynccontextmanager
async def receiving(answer: Answer | None = None) -> AsyncIterator[Receiver]:
    """Receive on a port of this machine."""
    receiver = Receiver()
    if answer:
        receiver.answer = answer
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    async with TestServer(app, host="127.0.0.1") as server:
        receiver.url = str(server.make_url("/hook"))
        yield receiver


async def make_webhook(person: Person, url: str, *events: str, **fields: Any) -> dict[str, Any]:
    """Make a webhook of these events; without any, of all."""
    asked = {"url": url, "events": events or ("feedback.created", "feedback.updated", "feedback.deleted"), **fields}
    return dict(await body(await person.post("/api/webhooks", json=asked), 201))


async def deliveries(person: Person, webhook: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    """List the deliveries of a webhook, the oldest first."""
    page = await body(await person.get(f"/api/webhooks/{webhook['id']}/deliveries", params={"limit": 100, **query}))
    return list(reversed(page["items"]))


async def attempted(person: Person, webhook: dict[str, Any], attempts: int = 1) -> dict[str, Any]:
    """Wait until the only delivery of a webhook has been tried so often, and return it."""

    async def tried() -> dict[str, Any] | None:
        found = await deliveries(person, webhook)
        return found[0] if found and found[0]["attempts"] >= attempts else None

    found = await until(tried, f"{attempts} attempts")
    assert found
    return found


async def hanging(got: Got) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()
