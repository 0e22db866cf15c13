"""Spreads the tables over the nodes of a Citus cluster: what stands where, and the steps that put it there.

Users and their widgets are copied to every node. What belongs to an inbox is spread by its user, so that all of one inbox is on
one node; the functions that write it run there. The rest stays with the coordinator, the server that clients use.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg

from fw.database import statements

log = logging.getLogger("fw.database.distribution")

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

    @property
    def address(self) -> str:
        return f"{self.name}:{self.port}"


@dataclass(frozen=True, slots=True)
class State:
    """How far the tables are spread."""

    nodes: Sequence[Node]
    missing_tables: Sequence[str]
    missing_functions: Sequence[str]
    left: Mapping[str, int]
    """The bytes of rows that spread tables had before, which the coordinator still has."""

    @property
    def is_begun(self) -> bool:
        return FIRST not in self.missing_tables

    @property
    def is_whole(self) -> bool:
        return not (self.missing_tables or self.missing_functions or self.left)


def state(connection: psycopg.Connection[Any]) -> State | None:
    """Return how far the tables are spread; None if the extension is not there."""
    if not run(connection, "distribution.is_possible")[0][0]:
        return None
    tables = dict(run(connection, "distribution.tables"))
    functions = {name for (name,) in run(connection, "distribution.functions")}
    sizes = {row[:2]: row[2:] for row in run(connection, "distribution.sizes")}
    return State(
        nodes=[Node(*row, *sizes.get(row[:2], (0, 0))) for row in run(connection, "distribution.nodes")],
        missing_tables=[name for name in (*COPIED, *SPREAD) if name not in tables],
        missing_functions=[name for name, _ in SENT if name not in functions],
        left={name: size for name, size in tables.items() if size},
    )


def complete_new(connection: psycopg.Connection[Any], kept: Sequence[str]) -> None:
    """Spread what migrations have made, which is on the coordinator alone, but not the tables `kept`."""
    found = state(connection)
    if found and found.is_begun:
        missing = [name for name in found.missing_tables if name not in kept]
        complete(connection, replace(found, missing_tables=missing), 0, lambda step: log.info("spread", extra={"step": step}))


def alone(connection: psycopg.Connection[Any]) -> list[str]:
    """Return the tables that are there, and are not spread yet."""
    found = state(connection)
    return [row[0] for row in run(connection, "distribution.existing", found.missing_tables)] if found else []


def complete(connection: psycopg.Connection[Any], found: State, shards: int, tell: Tell) -> None:
    """Take the steps that are missing, each in a transaction of its own: whoever is killed goes on where that ended."""
    # Citus tells at length which tables it adds to its own.
    connection.execute("SET client_min_messages = warning")
    for name in COPIED:
        if name in found.missing_tables:
            tell(f"{name}: {megabytes(size_of(connection, name))}, copied to every node")
            run(connection, "distribution.copy", name)
    for name in SPREAD:
        if name in found.missing_tables:
            tell(f"{name}: {megabytes(size_of(connection, name))}, spread by {COLUMN}")
            if name == FIRST:
                run(connection, "distribution.spread_first", name, COLUMN, shards)
            else:
                run(connection, "distribution.spread", name, COLUMN, FIRST)
    for name, argument in SENT:
        if name in found.missing_functions:
            tell(f"{name}(): run by the node that has the inbox")
            run(connection, "distribution.send", name, argument, FIRST)
    let_go(connection, tell)


def let_go(connection: psycopg.Connection[Any], tell: Tell) -> None:
    """Give back the coordinator's space, once all tables are spread: this takes the tables along that refer to one."""
    found = state(connection)
    if found and not found.missing_tables:
        for name, size in found.left.items():
            tell(f"{name}: {megabytes(size)} of the coordinator given back")
            run(connection, "distribution.let_go", name)


def size_of(connection: psycopg.Connection[Any], name: str) -> int:
    """Return the bytes of a table that is not spread."""
    return int(run(connection, "distribution.size", name)[0][0])


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def run(connection: psycopg.Connection[Any], name: str, *arguments: Any) -> Sequence[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    return psycopg.RawCursor(connection).execute(statements.statements()[name], arguments).fetchall()
