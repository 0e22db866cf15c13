"""A real PostgreSQL, a database a worker, the real application, and people made by real requests."""

import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import psycopg
import pytest
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, settings

from fw.app import create_app
from fw.config import Config
from fw.database.distribution import COPIED
from fw.database.embedded import postgres
from fw.database.migrations import migrate
from fw.database.pool import Database
from fw.telemetry.logs import JsonFormatter, TextFormatter
from tests.support import citus
from tests.support.conformance import Conformance
from tests.support.people import Person, make_person
from tests.support.postbox import Postbox, postbox

SECRET = "a secret of the tests of 32 bytes and more"

# A busy machine takes its time: no test has a limit of its own in milliseconds.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

MakeDatabase = Callable[..., str]
MakeClient = Callable[..., Awaitable[TestClient]]
MakeUser = Callable[..., Awaitable[Person]]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Path:
    """pytest's folder of a test, with the way there open: where root runs the tests, PostgreSQL's user has to get through."""
    if os.geteuid() == 0:
        for folder in (tmp_path, *tmp_path.parents):
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode & 0o7777 | 0o001)
    return tmp_path


@pytest.fixture(autouse=True)
def no_handler_is_left() -> Iterator[None]:
    """Take away what a command that ran in a test has set up: its stream is closed with the test."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, JsonFormatter | TextFormatter):
            root.removeHandler(handler)


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """A PostgreSQL server for all workers: FW_TEST_DATABASE_URL, or the embedded one without its fsync."""
    given = os.environ.get("FW_TEST_DATABASE_URL")
    if given:
        yield given
        return
    # Not in pytest's own folder: another run of root's closes that to the user that PostgreSQL runs as.
    shared = Path(tempfile.gettempdir()) / f"fw-tests-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    with postgres(shared, "fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=300") as url:
        yield url
    if not (shared / "postgres" / "postmaster.pid").exists():
        shutil.rmtree(shared, ignore_errors=True)


@pytest.fixture(scope="session")
def make_database(server_url: str) -> Iterator[MakeDatabase]:
    """Make empty databases, dropped at the end."""
    with ExitStack() as stack:

        def make(encoding: str = "UTF8") -> str:
            name = f"fw_test_{uuid4().hex[:12]}"
            with psycopg.connect(server_url, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
            stack.callback(drop, name)
            parts = urlsplit(server_url)
            # A Unix socket has no host before the path, which urlunsplit would drop the slashes of.
            return f"postgresql://{parts.netloc}/{name}{'?' + parts.query if parts.query else ''}"

        def drop(name: str) -> None:
            with psycopg.connect(server_url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

        yield make


@pytest.fixture(scope="session")
def database_url(make_database: MakeDatabase) -> Iterator[str]:
    """A migrated database that all tests of this worker share: each makes its own people in it.

    With FW_TEST_CITUS_URL its tables are spread over the nodes of that cluster.
    """
    if not citus.CLUSTER:
        url = make_database()
        migrate(Config(database_url=url))
        yield url
        return
    with citus.spread_database(shards=8) as config:
        yield config.database_url
        for table in COPIED:
            first, *others = citus.copies(config.database_url, table)
            assert all(other == first for other in others), f"the nodes' copies of {table} differ"


@pytest.fixture
def config(database_url: str, tmp_path: Path) -> Config:
    """The settings of the tests: cheap passwords, and no limits unless a test asks for them."""
    return Config(database_url=database_url, data_dir=tmp_path, jwt_secrets=(SECRET,), bcrypt_cost=4, rate_limits={})


@pytest.fixture
async def database(config: Config) -> AsyncIterator[Database]:
    """The database as a process uses it, beside those of the clients."""
    async with Database(config) as database:
        yield database


@pytest.fixture
async def make_client(aiohttp_client: Any, config: Config) -> AsyncIterator[MakeClient]:
    """Start the application, with settings (and a server) as a test likes, and give a client of it.

    Whatever it answers has to be as its description says.
    """

    conformance = Conformance()

    async def make(*, server: dict[str, Any] | None = None, **settings: Any) -> TestClient:
        app = create_app(replace(config, **settings))
        app.on_response_prepare.append(conformance)
        return await aiohttp_client(app, server_kwargs=server or {})

    yield make
    assert not conformance.faults, "\n".join(conformance.faults)


@pytest.fixture
async def client(make_client: MakeClient) -> TestClient:
    return await make_client()


@pytest.fixture
async def make_user(client: TestClient) -> MakeUser:
    """Register people, through the API; `client=` registers at another server."""

    async def make(*, client: TestClient = client, **fields: Any) -> Person:
        return await make_person(client, **fields)

    return make


@pytest.fixture
async def user(make_user: MakeUser) -> Person:
    return await make_user()


@pytest.fixture
async def box() -> AsyncIterator[Postbox]:
    """A mail server, for those who start theirs with its `settings`."""
    async with postbox() as made:
        yield made


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the application's, to see what is stored."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def no_attempts_yet(sql: asyncpg.Connection) -> None:
    """Forget what other tests have tried: limits of addresses count all that come from here."""
    await sql.execute("DELETE FROM attempts")
