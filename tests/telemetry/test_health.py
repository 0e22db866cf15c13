"""GET /health and /health/ready."""

from aiohttp.test_utils import TestClient

from fw import __version__
from tests.conftest import MakeClient, MakeDatabase
from tests.support.people import body, problem
from tests.support.waiting import until


async def test_says_that_it_lives(client: TestClient) -> None:
    assert await body(await client.get("/health")) == {"status": "ok", "version": __version__}


async def test_lives_without_a_database(make_client: MakeClient) -> None:
    client = await make_client(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
    assert (await body(await client.get("/health")))["status"] == "ok"


async def test_is_ready(client: TestClient) -> None:
    async def ready() -> bool:
        return (await client.get("/health/ready")).status == 200

    await until(ready)
    assert (await body(await client.get("/health/ready")))["status"] == "ready"


async def test_is_not_ready_without_a_database(make_client: MakeClient) -> None:
    client = await make_client(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
    response = await client.get("/health/ready")
    found = await problem(response, 503, "unavailable")
    assert found["detail"] == "Not ready: database, migrations, listener."
    assert int(response.headers["Retry-After"]) > 0


async def test_is_not_ready_before_the_migrations(make_client: MakeClient, make_database: MakeDatabase) -> None:
    client = await make_client(database_url=make_database())
    found = await problem(await client.get("/health/ready"), 503, "unavailable")
    assert "migrations" in found["detail"]
    assert "database" not in found["detail"]
