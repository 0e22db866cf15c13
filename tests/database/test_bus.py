"""The bus: what it has to do, by PostgreSQL and by Redis alike."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis

from fw.config import Config
from fw.database import listener
from fw.database.bus import BUS, INBOXES, SESSIONS, Lost, PostgresSubscription, make_bus
from fw.database.listener import LISTENER
from fw.database.pool import Database
from fw.database.teller import EVERYBODY, MOST, Teller
from fw.inbox.hub import HUB
from tests.conftest import MakeClient, MakeUser
from tests.support.live import close_code, connect, event
from tests.support.people import Person, body, nothing
from tests.support.polls import poll
from tests.support.redis import REDIS, redis_server
from tests.support.waiting import until

Heard = list[tuple[str, list[str]]]


def noted() -> None:
    """Called at a loss, of which these tests need not hear."""


@pytest.fixture(params=["postgresql", "redis"])
def bus_config(request: pytest.FixtureRequest, config: Config, tmp_path: Path) -> Iterator[Config]:
    """The configuration of either bus."""
    if request.param == "postgresql":
        yield config
    elif REDIS is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    else:
        with redis_server(tmp_path) as url:
            yield replace(config, redis_url=url)


@pytest.fixture
async def pair(make_client: MakeClient, make_user: MakeUser, bus_config: Config) -> tuple[Person, Person]:
    """One user at two processes that share the bus."""
    first, second = [await make_client(redis_url=bus_config.redis_url) for _ in range(2)]
    for client in (first, second):

        async def listens(client: Any = client) -> bool:
            return bool(client.app[LISTENER].is_listening)

        await until(listens)
    user = await make_user(client=first)
    return user, replace(user, client=second)


# The statements of PostgreSQL tell it themselves: the other tests see to that.
@pytest.mark.parametrize("bus_config", ["redis"], indirect=True)
async def test_what_one_tells_all_hear(bus_config: Config) -> None:
    ids = [str(uuid4()) for _ in range(300)]
    first: Heard = []
    second: Heard = []
    async with (
        make_bus(bus_config, Database(bus_config)) as bus,
        bus.subscribe(lambda *told: first.append(told), noted),
        bus.subscribe(lambda *told: second.append(told), noted),
    ):
        bus.publish(INBOXES, ids)
        bus.publish(SESSIONS, ids[:1])

        async def all_heard() -> bool:
            return len(first) == len(second) == 2

        await until(all_heard)
    assert first == second == [(INBOXES, ids), (SESSIONS, ids[:1])]


async def test_a_subscription_gives_signs_of_life(bus_config: Config) -> None:
    async with make_bus(bus_config, Database(bus_config)) as bus, bus.subscribe(lambda *_: None, noted) as subscription:
        for _ in range(3):
            await asyncio.wait_for(subscription.probe(), 5)
        assert not subscription.is_lost


@pytest.mark.parametrize(
    "settings",
    [{"database_url": "postgresql://nobody@127.0.0.1:1/x"}, {"redis_url": "redis://127.0.0.1:1"}],
    ids=["pg", "redis"],
)
async def test_a_bus_that_is_not_there_is_lost(config: Config, settings: dict[str, str]) -> None:
    with pytest.raises(Lost):
        async with make_bus(replace(config, **settings), Database(config)) as bus, bus.subscribe(lambda *_: None, noted):
            pass


async def test_publishing_to_a_bus_that_is_not_there_harms_nobody(config: Config) -> None:
    async with make_bus(replace(config, redis_url="redis://127.0.0.1:1"), Database(config)) as bus:
        bus.publish(INBOXES, ["x"])


@pytest.mark.parametrize("bus_config", ["redis"], indirect=True)
async def test_hints_outlast_a_bus_that_stands_still(bus_config: Config) -> None:
    heard: set[str] = set()
    async with (
        make_bus(bus_config, Database(bus_config)) as bus,
        bus.subscribe(lambda _, ids: heard.update(ids), noted),
        Redis.from_url(bus_config.redis_url) as redis,
    ):
        pid = (await redis.info("server"))["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            bus.publish(INBOXES, ["while it stands still"])
            await until(lambda: has_failed(bus))
            bus.publish(SESSIONS, ["after that was noticed"])
        finally:
            os.kill(pid, signal.SIGCONT)

        async def has_heard_both() -> bool:
            return heard == {"while it stands still", "after that was noticed"}

        await until(has_heard_both)


async def has_failed(bus: Any) -> bool:
    return bool(bus._teller._waiting)


async def test_hints_about_too_many_users_become_one_about_all() -> None:
    told: list[tuple[str, list[str]]] = []
    failures = iter([OSError()])

    async def send(channel: str, user_ids: list[str]) -> None:
        for failure in failures:
            raise failure
        told.append((channel, user_ids))

    teller = Teller(send)
    teller.tell(INBOXES, map(str, range(MOST + 1)))
    teller.tell(SESSIONS, ["one", "two"])
    await teller.close()
    assert told == [(INBOXES, [EVERYBODY]), (SESSIONS, ["one", "two"])]


async def test_a_hint_about_all_wakes_every_reader(pair: tuple[Person, Person], config: Config) -> None:
    here, _ = pair
    ws = await connect(here)
    await event(ws)
    sql = await asyncpg.connect(config.database_url)
    await sql.execute("UPDATE sessions SET revoked_at = now() WHERE user_id = $1", here.id)
    await sql.execute("SELECT pg_notify($1, $2)", INBOXES, EVERYBODY)
    await sql.close()
    here.client.app[BUS].publish(INBOXES, [EVERYBODY])  # type: ignore[union-attr]
    assert await close_code(ws) == 4401


async def test_sockets_hear_of_all_changes_made_elsewhere(pair: tuple[Person, Person]) -> None:
    here, elsewhere = pair
    ws = await connect(here)
    await event(ws)
    ids = [await elsewhere.receive(f"{n}") for n in range(3)]
    assert [(await event(ws))["feedback"]["id"] for _ in ids] == ids
    await body(await elsewhere.patch(f"/api/feedback/{ids[0]}/read"))
    assert (await event(ws))["cursor"] == 4
    await body(await elsewhere.post("/api/feedback/read", json={"ids": [ids[1]]}))
    assert (await event(ws))["cursor"] == 5
    await body(await elsewhere.post("/api/feedback/read", json={"up_to": 5}))
    assert (await event(ws))["cursor"] == 6
    await nothing(await elsewhere.delete(f"/api/feedback/{ids[0]}"))
    assert (await event(ws))["event"] == "deleted"


async def test_a_poll_hears_of_what_came_in_elsewhere(pair: tuple[Person, Person]) -> None:
    here, elsewhere = pair
    poll = asyncio.create_task(here.changes(0, wait=20))

    async def waits() -> bool:
        return bool(here.client.app[HUB]._watches)  # type: ignore[union-attr]

    await until(waits)
    await elsewhere.receive()
    assert [found["event"] for found in (await asyncio.wait_for(poll, 10))["events"]] == ["created"]


async def test_a_logout_elsewhere_closes_sockets(pair: tuple[Person, Person]) -> None:
    here, elsewhere = pair
    ws = await connect(here)
    await event(ws)
    await nothing(await elsewhere.post("/api/auth/logout"))
    assert await close_code(ws) == 4401


async def test_hints_about_inboxes_come_as_long_as_there_are_readers(
    client: TestClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "PROBE_SECONDS", 0.05)
    monkeypatch.setattr(listener, "UNHEARD_SECONDS", 0.1)
    assert client.app
    ear = client.app[LISTENER]
    await until(lambda: asyncio.sleep(0, ear.is_listening))
    assert not ear.hears_of_inboxes
    for message in ("first", "second"):
        ws = await connect(user)
        await event(ws)
        await until(lambda: asyncio.sleep(0, ear.hears_of_inboxes), "the hints to be asked for")
        await user.receive(message)
        assert (await event(ws))["feedback"]["message"] == message
        await ws.close()
        await until(lambda: asyncio.sleep(0, not ear.hears_of_inboxes), "the hints to be ended")


async def test_what_comes_before_the_hints_are_asked_for_is_not_missed(
    client: TestClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()
    ask = PostgresSubscription.hear_of_inboxes

    async def ask_later(subscription: PostgresSubscription, *, is_wanted: bool) -> None:
        await go_on.wait()
        await ask(subscription, is_wanted=is_wanted)

    monkeypatch.setattr(PostgresSubscription, "hear_of_inboxes", ask_later)
    ws = await connect(user)
    await event(ws)
    waiting = await poll(client, user, 0)
    await user.receive("told by nobody")
    go_on.set()
    assert (await event(ws))["feedback"]["message"] == "told by nobody"
    assert len((await waiting)["events"]) == 1


@pytest.mark.skipif(REDIS is None, reason="redis-server is not installed (Debian: apt-get install redis-server)")
@pytest.mark.slow
async def test_a_redis_that_goes_and_comes_costs_time_and_no_data(
    make_client: MakeClient, make_user: MakeUser, tmp_path: Path
) -> None:
    url = f"unix://{tmp_path}/redis.sock"
    client = await make_client(redis_url=url)
    ear = client.app[LISTENER]  # type: ignore[union-attr]

    async def listens() -> bool:
        return ear.is_listening

    async def is_deaf() -> bool:
        return not ear.is_listening

    user = await make_user(client=client)
    with redis_server(tmp_path):
        await until(listens)
        ws = await connect(user)
        await event(ws)
        await user.receive("before")
        assert (await event(ws))["feedback"]["message"] == "before"
    await until(is_deaf)
    await user.receive("while away")
    with suppress(FileNotFoundError):
        (tmp_path / "redis.sock").unlink()
    with redis_server(tmp_path):
        # The listener comes back and wakes everybody.
        assert (await event(ws))["feedback"]["message"] == "while away"
        await until(listens)
