"""Long polls for changes of an inbox."""

import asyncio
from typing import Any

from aiohttp.test_utils import TestClient

from fw.inbox.hub import HUB
from tests.support.people import Person, body
from tests.support.waiting import until

PATH = "/api/feedback/changes"


async def poll(client: TestClient, person: Person, since: int, wait: float = 30) -> "asyncio.Task[dict[str, Any]]":
    """Begin a long poll at a server, and return when it watches the inbox there."""

    async def ask() -> dict[str, Any]:
        response = await client.get(PATH, params={"since": since, "wait": wait}, headers=person.headers)
        return dict(await body(response))

    task = asyncio.create_task(ask())
    await watched(client, person)
    return task


async def watched(client: TestClient, person: Person) -> None:
    hub = client.app[HUB]  # type: ignore[index]

    async def watches() -> bool:
        return bool(hub._watches.get(person.id))

    await until(watches, "the hub to have a watch")
