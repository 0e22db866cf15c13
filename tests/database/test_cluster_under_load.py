"""What may happen to the nodes of a Citus cluster does, under load: nothing acknowledged is lost, and every reader ends with
exactly the inbox. Skipped unless FW_TEST_CITUS_URL names a coordinator, of at least two nodes for these tests.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.support import citus
from tests.support.load import Sender, more, servers, under_load

SHARDS = 8
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), citus.needs_cluster]


@pytest.fixture
def new_node() -> tuple[str, int]:
    """The address of a node that the database does not know yet."""
    host, port, _ = citus.nodes_of(citus.CLUSTER)[-1]
    return host, port


@pytest.fixture
def url(new_node: tuple[str, int]) -> Iterator[str]:
    """A database that is spread over all nodes of the cluster but the last."""
    with citus.spread_database(SHARDS, unknown=1) as config:
        yield config.database_url


def place_of(connection: psycopg.Connection, user_id: str) -> tuple[int, str, int]:
    """Return which part of the inboxes a user's is in, and the node that has it."""
    found = connection.execute(
        "SELECT s.shardid, s.nodename, s.nodeport FROM citus_shards AS s"
        " WHERE s.shardid = get_shard_id_for_distribution_column('inboxes', %s::uuid)",
        [user_id],
    ).fetchone()
    assert found
    return found


def user_id_of(url: str, name: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT id::text FROM users WHERE username = %s", [name]).fetchone()
    assert row
    return str(row[0])


def move_to(url: str, node: tuple[str, int], user_id: str) -> None:
    """Add a node, give it its part of all there is, and the parts of one inbox."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT citus_add_node(%s::text, %s::integer)", node)
        connection.execute("SELECT rebalance_table_shards(shard_transfer_mode => 'force_logical')")
        shard, *place = place_of(connection, user_id)
        if tuple(place) != node:
            connection.execute(
                "SELECT citus_move_shard_placement(%s, %s::text, %s::integer, %s::text, %s::integer, 'force_logical')",
                [shard, *place, *node],
            )


async def test_a_node_is_added_and_the_inbox_moves_there(tmp_path: Path, url: str, new_node: tuple[str, int]) -> None:
    name = f"u{uuid4().hex[:12]}"
    async with servers(tmp_path, 2, url) as both, under_load([await server.url() for server in both], name) as (senders, _):
        user_id = user_id_of(url, name)
        moving = asyncio.create_task(asyncio.to_thread(move_to, url, new_node, user_id))
        while not moving.done():
            await more(senders, 10)
        await moving
    with psycopg.connect(url) as connection:
        assert place_of(connection, user_id)[1:] == new_node


def refuse_connections(url: str, *, may_connect: bool) -> None:
    """Have a node end all connections to a database and take no new ones, or take them again."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(citus.url_of(url, "postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {may_connect}")
        if not may_connect:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


async def test_the_node_of_the_inbox_goes_away_and_comes_back(tmp_path: Path, url: str) -> None:
    name = f"u{uuid4().hex[:12]}"
    async with servers(tmp_path, 2, url) as both, under_load([await server.url() for server in both], name) as (senders, _):
        with psycopg.connect(url) as connection:
            _, host, port = place_of(connection, user_id_of(url, name))
        node = citus.url_of(url, address=(host, port))
        await asyncio.to_thread(refuse_connections, node, may_connect=False)
        before = acknowledged(senders)
        await asyncio.sleep(3)
        # Nothing is acknowledged that is stored nowhere.
        assert acknowledged(senders) <= before + len(senders)
        await asyncio.to_thread(refuse_connections, node, may_connect=True)
        await more(senders, 50)
        for server in both:
            assert server.process.returncode is None, server.output


def acknowledged(senders: list[Sender]) -> int:
    return sum(len(sender.acknowledged) for sender in senders)
