"""Spreads the tables over the nodes of a Citus cluster: what stands where, and the steps that put it there.

Users and their widgets are copied to every node. What belongs to an inbox is spread by its user, so that all of one inbox is on
one node; the functions that write it run there. The rest stays with the coordinator, the server that clients use.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from fw.config import Config, ConfigError
from fw.database import migrations, statements

COPIED: Final = ("users", "widgets")
FIRST: Final = "inboxes"
SPREAD: Final = (
    FIRST,
    "feedback",
    "idempotency",
    "sessions",
    "widget_events",
    "lanes",
    "jobs",
    "webhooks",
    "deliveries",
    "notifications",
)
"""In an order in which foreign keys are met. The rows of one user are together on one node in all of them."""
COLUMN: Final = "user_id"
SENT: Final = (("inboxes_append", "p_near"), ("inbox_find", "p_user_id"))
"""The functions that a node runs as a whole, and the argument that says which node."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Node:
    """A server of the cluster; group 0 is the coordinator."""

    name: str
    port: int
    group: int
    is_active: bool
    has_shards: bool
    """Whether it is to have any."""
    shards: int
    """How many parts of the inboxes it has."""
    bytes: int


@dataclass(frozen=True, slots=True)
class State:
    """How far the tables are spread."""

    nodes: Sequence[Node]
    missing_tables: Sequence[str]
    missing_functions: Sequence[str]

    @property
    def is_whole(self) -> bool:
        return not self.missing_tables and not self.missing_functions


def state(connection: psycopg.Connection[Any]) -> State | None:
    """Return how far the tables are spread; None if the extension is not there."""
    if not run(connection, "distribution.is_possible")[0][0]:
        return None
    tables, functions = (
        {found for (found,) in run(connection, name)} for name in ("distribution.tables", "distribution.functions")
    )
    sizes = {row[:2]: row[2:] for row in run(connection, "distribution.sizes")}
    return State(
        nodes=[Node(*row, *sizes.get(row[:2], (0, 0))) for row in run(connection, "distribution.nodes")],
        missing_tables=[name for name in (*COPIED, *SPREAD) if name not in tables],
        missing_functions=[name for name, _ in SENT if name not in functions],
    )


def distribute(config: Config, shards: int, tell: Tell) -> None:
    """Spread what is not spread yet. Raises `ConfigError` if that is not possible, or servers run."""
    with migrations.connect(config) as connection:
        run(connection, "distribution.lock", migrations.LOCK)
        found = state(connection)
        refuse(connection, found)
        assert found
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
        raise ConfigError(f"the node {away[0].name}:{away[0].port} is not active: SELECT citus_activate_node('address', port)")
    if missing := migrations.pending(connection):
        raise ConfigError(f"the database is not up to this release ({min(missing)}): run fw migrate first")
    if not found.is_whole and (servers := run(connection, "distribution.servers")[0][0]):
        raise ConfigError(f"servers are running ({servers} connections): stop them first")


def complete(connection: psycopg.Connection[Any], found: State, shards: int, tell: Tell) -> None:
    """Take the steps that are missing, each in a transaction of its own: whoever is killed goes on where that ended."""
    # Citus tells at length which tables it adds to its own.
    connection.execute("SET client_min_messages = warning")
    for name in COPIED:
        if name in found.missing_tables:
            tell(f"{name}: {size_of(connection, name)}, copied to every node")
            run(connection, "distribution.copy", name)
    for name in SPREAD:
        if name in found.missing_tables:
            tell(f"{name}: {size_of(connection, name)}, spread by {COLUMN}")
            if name == FIRST:
                run(connection, "distribution.spread_first", name, COLUMN, shards)
            else:
                run(connection, "distribution.spread", name, COLUMN, FIRST)
    for name, argument in SENT:
        if name in found.missing_functions:
            tell(f"{name}(): run by the node that has the inbox")
            run(connection, "distribution.send", name, argument, FIRST)


def size_of(connection: psycopg.Connection[Any], name: str) -> str:
    return f"{run(connection, 'distribution.size', name)[0][0] / 1e6:,.1f} MB"


def run(connection: psycopg.Connection[Any], name: str, *arguments: Any) -> Sequence[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    return psycopg.RawCursor(connection).execute(statements.statements()[name], arguments).fetchall()
