"""Compares how many connections the processes of one start may open with how many the database allows."""

import logging
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import DictRow, dict_row

from fw.config import Config
from fw.database.statements import statements

log = logging.getLogger("fw.database.connections")

MIGRATING: Final = 2
"""A process migrates over two connections when it starts, while others serve already."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many connections are wanted, how many are allowed, and a sentence (`sum`) that shows how both add up."""

    wanted: int
    given: int
    sum: str

    @property
    def is_enough(self) -> bool:
        return self.wanted <= self.given


def capacity(config: Config, connection: psycopg.Connection[Any]) -> Capacity:
    """Compare how many connections the configuration may open with how many the server of a direct connection allows."""
    wanted, wanted_words = demand(config)
    given, given_words = supply(connection)
    return Capacity(wanted, given, f"{wanted_words} = {wanted} connections, of {given} that the database gives ({given_words})")


def warn(config: Config, connection: psycopg.Connection[Any]) -> None:
    """Log one warning, with the sum, if there may be too few connections."""
    try:
        found = capacity(config, connection)
    except psycopg.Error as error:
        # The server can start without this check.
        log.warning("connections could not be compared", extra={"reason": type(error).__name__})
        return
    if not found.is_enough:
        log.warning("there may be too few connections: %s", found.sum)


def demand(config: Config) -> tuple[int, str]:
    """Return how many connections to the server itself may be opened, and how they add up."""
    processes = config.web_concurrency
    pooled = config.db_pool * processes
    # If Redis carries the hints, no process listens.
    listeners = 0 if config.redis_url else processes
    parts = [] if config.is_pooled else [f"FW_DB_POOL {config.db_pool} x WEB_CONCURRENCY {processes}"]
    parts += [f"{listeners} listening"] * bool(listeners) + [f"{MIGRATING} migrating"]
    words = " + ".join(parts)
    if config.is_pooled:
        words = f"past the pooler, which has to take {pooled} clients: {words}"
    return (0 if config.is_pooled else pooled) + listeners + MIGRATING, words


def supply(connection: psycopg.Connection[Any]) -> tuple[int, str]:
    """Return how many connections a role that is no superuser may have, and which setting bounds them."""
    cursor: psycopg.Cursor[DictRow] = psycopg.RawCursor(connection, row_factory=dict_row)
    row = cursor.execute(statements()["connections.given"]).fetchone()
    assert row
    bounds = [(row["most"] - row["reserved"], f"max_connections {row['most']}, less {row['reserved']} reserved")]
    bounds += [(row[name], f"CONNECTION LIMIT of the {name[3:]}") for name in ("of_role", "of_database") if row[name] >= 0]
    return min(bounds)
