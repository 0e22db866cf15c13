"""Senders and readers that never give up, and the check that every fault has to pass."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.people import PASSWORD
from tests.support.processes import Process, fw
from tests.support.waiting import until

QUIET = aiohttp.ClientTimeout(total=20)


class Account:
    """Somebody with an inbox at servers that may come and go."""

    def __init__(self, http: aiohttp.ClientSession, urls: Sequence[str], name: str) -> None:
        self.http, self.urls, self.name = http, urls, name
        self.headers: dict[str, str] = {}

    async def register(self) -> None:
        asked = {"email": f"{self.name}@example.com", "username": self.name, "password": PASSWORD}
        async with self.http.post(f"{self.urls[0]}/api/auth/register", json=asked) as response:
            assert response.status == 201, await response.text()
            self.headers = {"Authorization": f"Bearer {(await response.json())['access_token']}"}

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Read, from whichever server answers, within a while."""
        attempts = count()

        async def answer() -> dict[str, Any] | None:
            url = self.urls[next(attempts) % len(self.urls)] + path
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self.http.get(url, params=query, headers=self.headers, timeout=QUIET) as response:
                    if response.status == 200:
                        return dict(await response.json())
                    assert response.status == 503, await response.text()
            return None

        return await until(answer, path, seconds=40) or {}

    async def items(self) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """Return the whole inbox by id, and its first page, of one moment: nothing came in between the pages."""
        first = page = await self.get("/api/feedback", limit=100)
        items = list(page["items"])
        while page["next"]:
            page = await self.get("/api/feedback", limit=100, after=page["next"])
            items += page["items"]
        by_id = {item["id"]: item for item in items}
        assert len(by_id) == len(items)
        return (by_id, first) if page["cursor"] == first["cursor"] else await self.items()


class Sender:
    """Sends one after the other, and notes what was acknowledged; anything but 201 and 503 is a fault of the server's."""

    def __init__(self, account: Account, name: str, *, is_patient: bool) -> None:
        self.account, self.name, self.is_patient = account, name, is_patient
        self.acknowledged: dict[str, str] = {}
        self.faults: list[str] = []

    async def run(self) -> None:
        for number in count():
            message = f"{self.name} {number}"
            while not await self.send(message, number) and self.is_patient:
                await asyncio.sleep(0.05)

    async def send(self, message: str, number: int) -> bool:
        """Send once; who is patient sends with a key, and repeats until it is acknowledged."""
        headers = {"Idempotency-Key": message} if self.is_patient else {}
        url = self.account.urls[number % len(self.account.urls)]
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self.account.http.post(
                f"{url}/api/feedback/{self.account.name}", json={"message": message}, headers=headers, timeout=QUIET
            ) as response:
                if response.status == 201:
                    self.acknowledged[(await response.json())["id"]] = message
                    return True
                if response.status != 503:
                    self.faults.append(f"{response.status} {await response.text()}")
        return False


class Reader:
    """Follows the live channel with its cursor, over as many connections as it takes, and applies what it is told."""

    def __init__(self, account: Account, first: int = 0) -> None:
        self.account, self.first = account, first
        self.state: dict[str, dict[str, Any]] = {}
        self.cursor = 0
        self.connections = 0
        self.faults: list[str] = []

    async def run(self) -> None:
        for number in count(self.first):
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                await self.follow(self.account.urls[number % len(self.account.urls)])
            await asyncio.sleep(0.05)

    async def follow(self, url: str) -> None:
        async with self.account.http.ws_connect(
            f"{url}/api/feedback/live?since={self.cursor}", headers=self.account.headers, heartbeat=5
        ) as ws:
            self.connections += 1
            async for message in ws:
                self.apply(json.loads(message.data))

    def apply(self, event: dict[str, Any]) -> None:
        if event["event"] == "hello":
            return
        if event["cursor"] <= self.cursor:
            self.faults.append(f"{event['event']} {event['cursor']} came after {self.cursor}")
        self.cursor = event["cursor"]
        if event["event"] == "resync":
            self.faults.append("had to begin anew")
        elif event["event"] == "deleted":
            self.state.pop(event["id"], None)
        else:
            is_known = event["feedback"]["id"] in self.state
            if is_known != (event["event"] == "updated"):
                self.faults.append(f"{event['event']} of what is {'' if is_known else 'not '}known")
            self.state[event["feedback"]["id"]] = event["feedback"]


@asynccontextmanager
async def under_load(urls: Sequence[str], name: str) -> AsyncIterator[tuple[list[Sender], list[Reader]]]:
    """Send and read while something happens inside; then check that nothing was lost, doubled or missed."""
    async with aiohttp.ClientSession() as http:
        account = Account(http, urls, name)
        await account.register()
        senders = [Sender(account, f"sender{n}", is_patient=n % 2 == 0) for n in range(8)]
        readers = [Reader(account, n) for n in range(4)]
        reading = [asyncio.create_task(reader.run()) for reader in readers]
        sending = [asyncio.create_task(sender.run()) for sender in senders]
        try:
            await more(senders, 100)
            yield senders, readers
            await more(senders, 100)
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        try:
            await check(account, senders, readers)
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)


async def more(senders: Sequence[Sender], wanted: int) -> None:
    """Wait until so many more submissions have been acknowledged."""

    def total() -> int:
        return sum(len(sender.acknowledged) for sender in senders)

    goal = total() + wanted

    async def reached() -> bool:
        return total() >= goal

    await until(reached, f"{wanted} more submissions to be acknowledged", seconds=40)


async def check(account: Account, senders: Sequence[Sender], readers: Sequence[Reader]) -> None:
    """Every acknowledged submission is stored once; every reader has applied exactly the inbox's state."""

    async def caught_up() -> tuple[dict[str, dict[str, Any]], dict[str, Any]] | None:
        # What was in flight when the senders went may still come in.
        items, page = await account.items()
        return (items, page) if all(reader.cursor == page["cursor"] for reader in readers) else None

    found = await until(caught_up, "all readers to be where the inbox is", seconds=45)
    assert found
    items, first = found
    messages = [item["message"] for item in items.values()]
    for sender in senders:
        assert sender.faults == []
        for feedback_id, message in sender.acknowledged.items():
            assert items[feedback_id]["message"] == message
        if sender.is_patient:
            own = [message for message in messages if message.startswith(f"{sender.name} ")]
            assert len(own) == len(set(own)), "a repeated submission was stored twice"
    assert first["total_count"] == len(items)
    assert first["unread_count"] == sum(not item["is_read"] for item in items.values())
    for reader in readers:
        assert reader.faults == []
        assert reader.state == items


@asynccontextmanager
async def servers(folder: Path, number: int, url: str, **settings: str) -> AsyncIterator[list[Process]]:
    """Run servers on one database."""
    settings = {"DATABASE_URL": url, "FW_JWT_SECRET": "s" * 32, "FW_RATE_LIMITS": "off", "FW_LOG_LEVEL": "WARNING", **settings}
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(fw("serve", folder=folder, **settings)) for _ in range(number)]
