"""Tasks in the background: they go on whatever happens, and it is told if they do not."""

import asyncio
from itertools import count

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw import background
from fw.background import BACKGROUND, Background
from fw.errors import Unavailable
from fw.inbox.feed import FEED
from fw.inbox.hub import HUB
from tests.conftest import MakeClient, MakeUser
from tests.support.live import close_code, connect, event
from tests.support.people import Person, body, problem
from tests.support.waiting import until


async def test_begins_again_after_a_failure_and_counts_it(caplog: pytest.LogCaptureFixture) -> None:
    numbers = count()
    went_on = asyncio.Event()

    async def work() -> None:
        if next(numbers) < 2:
            raise RuntimeError("no luck")
        went_on.set()
        await asyncio.Event().wait()

    async with Background().task("worker", work) as task:
        await asyncio.wait_for(went_on.wait(), 10)
        assert task.failures == 2
        assert task.is_running
    assert not task.is_running
    assert [record.message for record in caplog.records if record.name == "fw.background"] == ["task failed"] * 2


async def test_an_end_is_a_failure_too() -> None:
    numbers = count()

    async def work() -> None:
        next(numbers)

    async with Background().task("worker", work) as task:

        async def ended_twice() -> bool:
            return task.failures >= 2

        await until(ended_twice)


async def test_tells_which_tasks_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", (60.0,))
    tasks = Background()

    async def fail() -> None:
        raise RuntimeError

    async def wait() -> None:
        await asyncio.Event().wait()

    async with tasks.task("well", wait), tasks.task("ill", fail):

        async def one_is_stopped() -> bool:
            return tasks.stopped == ["ill"]

        await until(one_is_stopped)


async def test_a_server_whose_task_does_not_run_is_not_ready_and_says_so(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", (0.5,))
    client = await make_client()

    async def ready() -> bool:
        return (await client.get("/health/ready")).status == 200

    await until(ready)
    hub = client.app[HUB]  # type: ignore[index]
    monkeypatch.setattr(hub, "_send", None)
    hub._moved["somebody"] = None
    hub._work.set()

    async def answer() -> str:
        response = await client.get("/health/ready")
        return str((await response.json()).get("detail", ""))

    assert await until(answer) == "Not ready: background (hub)."
    metrics = await (await client.get("/metrics")).text()
    assert 'fw_background_failures_total{task="hub"} 1.0' in metrics
    assert "fw_background_stopped 1.0" in metrics
    monkeypatch.undo()
    await until(ready)


async def test_a_hub_that_failed_sends_all_that_it_was_about_to_send(
    client: TestClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = await connect(user)
    await event(ws)
    feed = client.app[FEED]  # type: ignore[index]
    read_many = feed.read_many
    failures = iter([RuntimeError("once")])

    async def fail_once(since: dict[str, int]) -> object:
        for failure in failures:
            raise failure
        return await read_many(since)

    monkeypatch.setattr(feed, "read_many", fail_once)
    await user.receive("not lost")
    assert (await event(ws))["feedback"]["message"] == "not lost"


async def test_inboxes_whose_reading_takes_too_long_together_are_read_in_parts(
    client: TestClient, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [await make_user() for _ in range(3)]
    readers = [await connect(user) for user in users]
    for ws in readers:
        await event(ws)
    monkeypatch.setattr("fw.inbox.hub.RETRY_SECONDS", 0.01)
    hub, feed = client.app[HUB], client.app[FEED]  # type: ignore[index]
    read_many = feed.read_many

    async def fail_for_many(since: dict[str, int]) -> object:
        if len(since) > 1:
            raise Unavailable
        return await read_many(since)

    monkeypatch.setattr(feed, "read_many", fail_for_many)
    hub.wake_all()
    for user in users:
        await user.receive("one by one")
    for ws in readers:
        assert (await event(ws))["feedback"]["message"] == "one by one"


async def test_an_inbox_that_cannot_be_read_harms_no_other(
    client: TestClient, make_user: MakeUser, sql: asyncpg.Connection
) -> None:
    odd, well = await make_user(), await make_user()
    at_odd, at_well = await connect(odd), await connect(well)
    for ws in (at_odd, at_well):
        await event(ws)
    feedback_id = await odd.receive("from the far future")
    await event(at_odd)
    # As a damaged archive may have it. The driver has no such time.
    await sql.execute("UPDATE feedback SET created_at = '20000-01-01', cursor = 2 WHERE id = $1", feedback_id)
    await sql.execute("UPDATE inboxes SET cursor = 2 WHERE user_id = $1", odd.id)
    hub = client.app[HUB]  # type: ignore[index]
    hub.wake([odd.id])
    await well.receive("as usual")
    assert (await event(at_well))["feedback"]["message"] == "as usual"
    assert await close_code(at_odd) == 1011
    assert all(task.failures == 0 for task in client.app[BACKGROUND].tasks)  # type: ignore[index]


async def test_one_reader_that_cannot_be_written_to_harms_no_other(
    client: TestClient, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, well = await connect(user), await connect(user)
    for ws in (broken, well):
        await event(ws)
    hub = client.app[HUB]  # type: ignore[index]
    sockets = hub._rooms[user.id].sockets

    class Dead:
        def is_closing(self) -> bool:
            return False

        def write(self, frames: bytes) -> None:
            raise RuntimeError("the handler is closed")

        def get_write_buffer_size(self) -> int:
            return 0

        def abort(self) -> None: ...

    monkeypatch.setattr(sockets[0], "transport", Dead())
    for number in range(3):
        await user.receive(f"{number}")
    assert [(await event(well))["feedback"]["message"] for _ in range(3)] == ["0", "1", "2"]
    found = await body(await client.get("/health/ready"))
    assert found["checks"]["background"] == "ok"


async def test_readiness_without_a_database_names_what_it_names_and_no_task(make_client: MakeClient) -> None:
    client = await make_client(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
    found = await problem(await client.get("/health/ready"), 503, "unavailable")
    assert found["detail"] == "Not ready: database, migrations, listener."
