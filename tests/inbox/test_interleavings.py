"""Whatever happens in whatever order, every device ends with exactly the inbox."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import MakeClient
from tests.support.people import Person, body, make_person
from tests.support.waiting import until

pytestmark = pytest.mark.slow

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "burst", "read", "unread", "delete", "read_up_to", "drop", "come_back"]),
        st.integers(0, 50),
    ),
    min_size=5,
    max_size=40,
)


@dataclass
class Device:
    """A device that keeps its cursor, and applies what it is told."""

    person: Person
    state: dict[str, Any] = field(default_factory=dict)
    cursor: int = 0
    faults: list[str] = field(default_factory=list)
    ws: ClientWebSocketResponse | None = None
    reading: asyncio.Task[None] | None = None

    async def come_back(self) -> None:
        if self.ws is None:
            path = f"/api/feedback/live?since={self.cursor}"
            self.ws = await self.person.client.ws_connect(path, headers=self.person.headers)
            self.reading = asyncio.create_task(self.read(self.ws))

    async def drop(self) -> None:
        """Go without a word, in the middle of whatever is being said."""
        if self.ws is not None and self.reading is not None:
            self.reading.cancel()
            await asyncio.gather(self.reading, return_exceptions=True)
            self.ws._response.close()
            self.ws = self.reading = None

    async def read(self, ws: ClientWebSocketResponse) -> None:
        async for message in ws:
            told = json.loads(message.data)
            if told["event"] != "hello":
                self.apply(told)

    def apply(self, told: dict[str, Any]) -> None:
        if told["cursor"] <= self.cursor or told["event"] == "resync":
            self.faults.append(f"{told['event']} {told['cursor']} after {self.cursor}")
        self.cursor = told["cursor"]
        if told["event"] == "deleted":
            self.state.pop(told["id"], None)
        else:
            if (told["feedback"]["id"] in self.state) != (told["event"] == "updated"):
                self.faults.append(f"{told['event']} is not what {told['feedback']['id']} was")
            self.state[told["feedback"]["id"]] = told["feedback"]


async def take(step: str, number: int, owner: Person, ids: list[str], devices: list[Device]) -> None:
    """Do one thing; what is gone already may be asked for too."""
    if step == "submit":
        ids.append(await owner.receive(f"{number}"))
    elif step == "burst":
        ids.extend(await asyncio.gather(*(owner.receive(f"{number} {n}") for n in range(number % 10 + 1))))
    elif step in ("drop", "come_back"):
        await getattr(devices[number % len(devices)], step)()
    elif step == "read_up_to":
        await body(await owner.post("/api/feedback/read", json={"up_to": number}))
    elif ids and step == "delete":
        await owner.delete(f"/api/feedback/{ids[number % len(ids)]}")
    elif ids:
        await owner.patch(f"/api/feedback/{ids[number % len(ids)]}/read", json={"is_read": step == "read"})


async def play(steps: list[tuple[str, int]], clients: list[TestClient]) -> None:
    owner = await make_person(clients[0])
    devices = [Device(replace(owner, client=clients[n % len(clients)])) for n in range(3)]
    ids: list[str] = []
    try:
        for device in devices:
            await device.come_back()
        for step, number in steps:
            await take(step, number, owner, ids, devices)
        for device in devices:
            await device.come_back()
        whole = await owner.inbox(limit=100)
        items = list(whole["items"])
        page = whole
        while page["next"]:
            page = await owner.inbox(limit=100, after=page["next"])
            items += page["items"]

        async def caught_up() -> bool:
            return all(device.cursor == whole["cursor"] for device in devices)

        await until(caught_up)
        for device in devices:
            assert device.faults == []
            assert device.state == {item["id"]: item for item in items}
        assert whole["unread_count"] == sum(not item["is_read"] for item in items)
    finally:
        for device in devices:
            with contextlib.suppress(Exception):
                await device.drop()


@given(steps=STEPS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
async def test_every_device_ends_with_exactly_the_inbox(make_client: MakeClient, steps: list[tuple[str, int]]) -> None:
    clients = [await make_client(), await make_client()]
    try:
        await play(steps, clients)
    finally:
        for client in clients:
            await client.close()
