"""What tests of mails need: a database of their own without others' jobs, and a server that sends its mails to the test."""

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw.config import Config
from fw.database.migrations import migrate
from tests.conftest import MakeClient, MakeDatabase
from tests.support.postbox import Postbox


@pytest.fixture(scope="module")
def database_url(make_database: MakeDatabase) -> str:
    url = make_database()
    migrate(Config(database_url=url))
    return url


@pytest.fixture
async def sql(sql: asyncpg.Connection) -> asyncpg.Connection:
    await sql.execute("TRUNCATE jobs, lanes")
    return sql


@pytest.fixture
async def client(make_client: MakeClient, box: Postbox, sql: asyncpg.Connection) -> TestClient:
    return await make_client(**box.settings, public_url="https://feedback.example")
