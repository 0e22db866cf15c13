"""Spreads the tables of a database over the nodes of its cluster, while no server runs."""

from typing import Any

import psycopg

from fw.config import Config, ConfigError
from fw.database import migrations
from fw.database.distribution import COPIED, SPREAD, State, Tell, complete, megabytes, run, size_of, state


def distribute(config: Config, shards: int, tell: Tell) -> None:
    """Spread what is not spread yet. Raises `ConfigError` if that is not possible, or servers run."""
    with migrations.connect(config) as connection:
        run(connection, "distribution.lock", migrations.LOCK)
        found = state(connection)
        refuse(connection, found)
        assert found
        refuse_without_room(connection, found)
        try:
            complete(connection, found, shards, tell)
        except psycopg.Error as error:
            raise ConfigError(f"Citus refused: {migrations.one_line(error)}") from error


def refuse(connection: psycopg.Connection[Any], found: State | None) -> None:
    """Raises `ConfigError` if the tables cannot be spread now."""
    if found is None:
        raise ConfigError("the extension citus is not in this database: CREATE EXTENSION citus, on every node first")
    if not any(node.group == 0 for node in found.nodes):
        raise ConfigError("the coordinator does not know its own address: SELECT citus_set_coordinator_host('address', port)")
    if not any(node.has_shards and node.is_active for node in found.nodes):
        raise ConfigError("the cluster has no node for data: SELECT citus_add_node('address', port)")
    if away := [node for node in found.nodes if not node.is_active]:
        raise ConfigError(f"the node {away[0].address} is not active: SELECT citus_activate_node('address', port)")
    if missing := migrations.pending(connection):
        raise ConfigError(f"the database is not up to this release ({min(missing)}): run fw migrate first")
    if not found.is_whole and (servers := run(connection, "distribution.servers")[0][0]):
        raise ConfigError(f"servers are running ({servers} connections): stop them first")


def refuse_without_room(connection: psycopg.Connection[Any], found: State) -> None:
    """Raises `ConfigError` if a disk has less left than its node is to get at least, if all of them get the same."""
    copied, spread = (
        sum(size_of(connection, name) for name in names if name in found.missing_tables) for names in (COPIED, SPREAD)
    )
    left = {row[:2]: row[2] for row in run(connection, "distribution.room")}
    share = spread // sum(node.has_shards for node in found.nodes)
    for node in found.nodes:
        least = copied + (share if node.has_shards else 0)
        room = left.get((node.name, node.port), least)
        if room < least:
            raise ConfigError(
                f"the node {node.address} is to get {megabytes(least)} at least, and its disk has {megabytes(room)} left"
            )
