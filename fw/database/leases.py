"""Connections that are kept for the next statement: the pool takes longer for each than many statements do."""

import asyncio
import logging
from contextlib import suppress
from typing import Any, Final

import asyncpg

log = logging.getLogger("fw.database")

KEPT_SECONDS: Final = 10.0
"""For how long. Then the pool has it, which knows when a connection is too old."""
CLOSE_SECONDS: Final = 5.0

BROKEN: Final = (
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""The errors that mean that the database does not work, and not that the statement is wrong."""


class Leases:
    """Connections that are taken from a pool for some seconds each, and used by one statement after another.

    Who takes one has to know that there are not more of them in use than the pool may have.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        # Those whose time has not ended, and those of them that are not in use.
        self._kept: set[Any] = set()
        self._free: list[Any] = []
        self._releases: set[asyncio.Task[None]] = set()
        self._is_open = True
        self.in_use = 0

    @property
    def size(self) -> int:
        """How many connections there are."""
        return int(self._pool.get_size())

    async def take(self) -> Any:
        """Return a connection, which is open as far as this process knows."""
        while self._free:
            connection = self._free.pop()
            if is_ready(connection):
                self.in_use += 1
                return connection
            self._release(connection)
        connection = await self._pool.acquire()
        self.in_use += 1
        if self._is_open:
            self._kept.add(connection)
            asyncio.get_running_loop().call_later(KEPT_SECONDS, self._end, connection)
        return connection

    def give_back(self, connection: Any) -> None:
        """Keep a connection for the next statement, unless its time has ended, or it cannot be used."""
        self.in_use -= 1
        if connection in self._kept and is_ready(connection):
            self._free.append(connection)
        else:
            self._release(connection)

    async def expire(self) -> None:
        """Have new connections be made for all that is run from now on."""
        self._end_all()
        await self._pool.expire_connections()

    async def close(self) -> None:
        """Close the connections, those in use when they are given back, and in the end whatever happens."""
        self._is_open = False
        self._end_all()
        try:
            await asyncio.wait_for(self._pool.close(), CLOSE_SECONDS)
        except (TimeoutError, *BROKEN):
            self._pool.terminate()

    def _end_all(self) -> None:
        self._kept.clear()
        while self._free:
            self._release(self._free.pop())

    def _end(self, connection: Any) -> None:
        self._kept.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
            self._release(connection)

    def _release(self, connection: Any) -> None:
        """Return a connection to the pool, which nobody waits for."""
        self._kept.discard(connection)
        release = asyncio.create_task(self._return(connection))
        self._releases.add(release)
        release.add_done_callback(self._releases.discard)

    async def _return(self, connection: Any) -> None:
        try:
            await self._pool.release(connection, timeout=CLOSE_SECONDS)
        except BROKEN as error:
            # The pool has closed it.
            log.warning("connection closed", extra={"reason": type(error).__name__})


def break_off(connection: Any) -> None:
    """Close a connection on which a statement may still run: to wait for its end could take for ever."""
    # It may be lost already.
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


def is_ready(connection: Any) -> bool:
    """Tell whether a statement can be run on a connection: it is open, and no transaction was left open on it."""
    try:
        return not (connection.is_closed() or connection.is_in_transaction())
    except asyncpg.InterfaceError:
        # It was lost: the pool has taken it back by itself.
        return False


async def refuse_open_transaction(connection: asyncpg.Connection) -> None:
    """Raises `InterfaceError` if a transaction is open, so that the pool closes the connection.

    It takes the place of asyncpg's default reset, which costs a round trip: our statements change no settings.
    """
    if connection.is_in_transaction():
        raise asyncpg.InterfaceError("a transaction was left open")
