"""Databases on a Citus cluster, whose coordinator FW_TEST_CITUS_URL names: its database knows the nodes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest

from fw.config import Config
from fw.database.migrations import migrate
from fw.database.spreading import distribute

CLUSTER: Final = os.environ.get("FW_TEST_CITUS_URL", "")
needs_cluster = pytest.mark.skipif(not CLUSTER, reason="FW_TEST_CITUS_URL names no Citus cluster")

NODES = "SELECT nodename, nodeport, groupid FROM pg_dist_node WHERE noderole = 'primary' ORDER BY groupid"


def url_of(url: str, database: str | None = None, address: tuple[str, int] | None = None) -> str:
    """Return the address of another database, or of the same on another node."""
    parts = urlsplit(url)
    user, _, own = parts.netloc.rpartition("@")
    where = f"{address[0]}:{address[1]}" if address else own
    path = parts.path if database is None else f"/{database}"
    return f"postgresql://{user}{'@' if user else ''}{where}{path}{'?' + parts.query if parts.query else ''}"


def nodes_of(url: str) -> list[tuple[str, int, int]]:
    """Return the addresses of the nodes and their groups; group 0 is the coordinator."""
    with psycopg.connect(url) as connection:
        return connection.execute(NODES).fetchall()


def create_database(url: str, name: str, unknown: int = 0) -> None:
    """Make an empty database on every node, whose coordinator knows the others, but for so many of the last."""
    nodes = nodes_of(url)
    for host, port, _ in nodes:
        with psycopg.connect(url_of(url, address=(host, port)), autocommit=True) as connection:
            connection.execute("SET client_min_messages = warning")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        with psycopg.connect(url_of(url, name, (host, port)), autocommit=True) as connection:
            connection.execute("CREATE EXTENSION citus")
    with psycopg.connect(url_of(url, name), autocommit=True) as connection:
        for host, port, group in nodes[: len(nodes) - unknown]:
            function = "citus_add_node" if group else "citus_set_coordinator_host"
            connection.execute(f"SELECT {function}(%s::text, %s::integer)", [host, port])


def copies(url: str, table: str) -> list[list[tuple[object, ...]]]:
    """Return the rows of a table that is copied to every node, as each node has them."""
    found = []
    for host, port, _ in nodes_of(url):
        with psycopg.connect(url_of(url, address=(host, port))) as connection:
            found.append(connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall())
    return found


def drop_database(url: str, name: str) -> None:
    for host, port, _ in nodes_of(url):
        with psycopg.connect(url_of(url, address=(host, port)), autocommit=True) as connection:
            connection.execute("SET client_min_messages = warning")
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@contextmanager
def empty_database(unknown: int = 0) -> Iterator[Config]:
    """Make a database on the cluster, without tables, whose coordinator does not know so many of the last nodes."""
    name = f"fw_test_{uuid4().hex[:12]}"
    create_database(CLUSTER, name, unknown)
    try:
        yield Config(database_url=url_of(CLUSTER, name))
    finally:
        drop_database(CLUSTER, name)


@contextmanager
def spread_database(shards: int, unknown: int = 0) -> Iterator[Config]:
    """Make a database whose tables are spread over the nodes that its coordinator knows."""
    with empty_database(unknown) as config:
        migrate(config)
        distribute(config, shards, lambda step: None)
        yield config
