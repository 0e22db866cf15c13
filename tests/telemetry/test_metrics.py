"""What Prometheus is told."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from aiohttp.test_utils import TestClient
from prometheus_client.parser import text_string_to_metric_families

from fw.config import Config
from fw.server import make_runner
from fw.telemetry.metrics import METRICS
from tests.conftest import MakeClient
from tests.support.live import connect, event
from tests.support.people import Person, body, problem, register
from tests.support.processes import fw
from tests.support.waiting import until

Samples = dict[tuple[str, ...], float]


def read(text: str) -> Samples:
    """Read samples by their names and the values of their labels."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def metrics(client: TestClient) -> Samples:
    response = await client.get("/metrics")
    assert response.status == 200
    assert response.content_type == "text/plain"
    return read(await response.text())


async def test_counts_batches_sockets_and_events(client: TestClient, user: Person) -> None:
    before = await metrics(client)
    assert before["fw_live_sockets",] == 0
    async with await connect(user) as socket:
        assert (await event(socket))["event"] == "hello"
        for number in range(3):
            await user.receive(f"{number}")
            await event(socket)
        found = await metrics(client)
        assert found["fw_live_sockets",] == 1
        assert found["fw_live_events_sent_total",] == 3
        assert found["fw_intake_batch_rows_sum",] == 3
        assert found["fw_intake_batch_rows_count",] == found["fw_intake_commit_seconds_count",] == 3
        assert 1 <= found["fw_live_delivery_lag_seconds_count",] <= 3
        assert 0 < found["fw_live_delivery_lag_seconds_sum",] < 60
        assert 1 <= found["fw_pool_connections",] <= 10
        assert found["fw_intake_queue_rows",] == found["fw_bcrypt_queue",] == 0

    async def gone() -> bool:
        return (await metrics(client))["fw_live_sockets",] == 0

    await until(gone, "the socket to be gone")


async def test_counts_jobs_of_the_outbox(client: TestClient, user: Person) -> None:
    async def given_up() -> bool:
        return (await metrics(client)).get(("fw_outbox_failed_total", "mail", "no smtp"), 0) >= 1

    await until(given_up, "the mail that asks for the address to be given up")
    found = await metrics(client)
    assert found["fw_outbox_done_total", "mail"] == 0
    assert found["fw_outbox_jobs_waiting", "mail"] >= 0
    assert found["fw_outbox_oldest_seconds", "mail"] >= 0


async def test_counts_refusals(make_client: MakeClient, user: Person) -> None:
    client = await make_client(rate_limits={"submission": (1, 60), "login": (100, 60)})
    for _ in range(3):
        await client.post(f"/api/feedback/{user.username}", json={"message": "Hello"})
    found = await metrics(client)
    assert found["fw_limits_refused_total", "submission"] == 2
    assert found["fw_limits_refused_total", "login"] == 0


async def test_counts_requests_by_pattern_and_not_by_name(config: Config, user: Person) -> None:
    runner = make_runner(config)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession() as http:
            for number in range(3):
                await (await http.post(f"{url}/api/feedback/{user.username}", json={"message": f"{number}"})).read()
                await (await http.request("PROPFIND", f"{url}/nowhere/{number}")).read()
            async with http.get(f"{url}/metrics") as response:
                found = read(await response.text())
    finally:
        await runner.cleanup()
    name = "fw_http_request_duration_seconds_count"
    assert found[name, "POST", "/api/feedback/{ref}", "201"] == 3
    assert found[name, "other", "unmatched", "404"] == 3
    assert not any(user.username in part or "PROPFIND" in part for key in found for part in key)


async def test_is_for_who_has_the_token(make_client: MakeClient) -> None:
    client = await make_client(metrics_token="an operator's token")
    for headers in ({}, {"Authorization": "Bearer something else"}, {"Authorization": "Basic an operator's token"}):
        await problem(await client.get("/metrics", headers=headers), 401, "unauthorized")
    response = await client.get("/metrics", headers={"Authorization": "Bearer an operator's token"})
    assert response.status == 200
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.slow
async def test_sums_over_processes_also_those_that_have_died(tmp_path: Path) -> None:
    async with (
        fw("serve", folder=tmp_path, WEB_CONCURRENCY="2", FW_RATE_LIMITS="off") as server,
        aiohttp.ClientSession() as http,
    ):
        url = await server.url()
        headers = await register(http, url)

        async def submit() -> None:
            asked: dict[str, Any] = {"json": {"message": "x"}, "headers": {"Connection": "close"}}
            async with http.post(f"{url}/api/feedback/somebody", **asked) as sent:
                await body(sent, 201)

        async def counted() -> float:
            async with http.get(f"{url}/metrics", headers={"Connection": "close"}) as response:
                samples = read(await response.text())
            return samples.get(("fw_http_request_duration_seconds_count", "POST", "/api/feedback/{ref}", "201"), 0)

        async def all_counted(count: int) -> bool:
            return await counted() == count

        await asyncio.gather(*(submit() for _ in range(40)))
        await until(lambda: all_counted(40), "40 submissions to be counted")
        psutil.Process(server.process.pid).children()[0].kill()
        await until(lambda: all_counted(40), "them to be counted still")
        async with http.get(f"{url}/api/auth/me", headers=headers) as response:
            assert response.status == 200
        assert await server.stop() == 0


async def test_many_who_ask_at_once_get_few_texts(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics: Any = client.app[METRICS]  # type: ignore[index]
    made = 0
    make = metrics._texts._make

    def count() -> bytes:
        nonlocal made
        made += 1
        return bytes(make())

    monkeypatch.setattr(metrics._texts, "_make", count)
    responses = await asyncio.gather(*(client.get("/metrics") for _ in range(40)))
    assert {response.status for response in responses} == {200}
    assert 1 <= made <= 3
