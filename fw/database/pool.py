"""The pool of connections, and the one place where a driver's error becomes a problem."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import asyncpg
import orjson
from aiohttp import web

from fw.config import Config
from fw.database import statements
from fw.errors import BY_CONSTRAINT, Problem, Unavailable

log = logging.getLogger("fw.database")

Row = Mapping[str, Any]
T = TypeVar("T")

USUAL_SECONDS: Final = 5.0
"""How long a statement may take, the wait for its connection included: a server that has fallen silent is known by then."""
STATEMENT_SECONDS: Final = 10.0
"""How long the server works at a statement; only those that say so are waited for that long."""
CLOSE_SECONDS: Final = 5.0
YIELD_SECONDS: Final = 0.1

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
"""What says that the database, not the statement, is the trouble."""


class Locked(Unavailable):
    """What the statement wants to change is locked by another one, and was not free in time."""

    sentence = "Something else is at work there right now; try again."


class Database:
    """Runs named statements. Every wait is bounded; what cannot be had in time is `Unavailable` (503)."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._statements = statements.statements()
        self._pool: asyncpg.Pool | None = None
        # The pool's own queue lets who comes just then overtake who has waited longest, again and again; this one does not.
        self._turns = asyncio.Semaphore(config.db_pool)

        self.waits = 0
        """How often a connection had to be waited for."""

    @property
    def size(self) -> int:
        """How many connections there are."""
        return self._pool.get_size() if self._pool else 0

    @property
    def in_use(self) -> int:
        return self._pool.get_size() - self._pool.get_idle_size() if self._pool else 0

    async def __aenter__(self) -> Self:
        # No connection is made before it is needed: the process starts, and is alive, without a database too.
        self._pool = await asyncpg.create_pool(
            self._config.database_url,
            min_size=0,
            max_size=self._config.db_pool,
            init=set_codecs,
            reset=_refuse_open_transaction,
            timeout=USUAL_SECONDS,
            statement_cache_size=0 if self._config.is_pooled else 1024,
            server_settings=self._session_settings(),
        )
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), CLOSE_SECONDS)
        except (TimeoutError, *BROKEN):
            pool.terminate()

    def _session_settings(self) -> dict[str, str]:
        settings = {"application_name": "feedbackwave"}
        if not self._config.is_pooled:
            # A pooler refuses settings that it does not know.
            settings["statement_timeout"] = f"{STATEMENT_SECONDS * 1000:.0f}"
            # Every statement is written to be as good for any values: to plan it anew takes longer than to read a page.
            settings["plan_cache_mode"] = "force_generic_plan"
        return settings

    async def rows(self, name: str, *arguments: Any) -> Sequence[Row]:
        """Read all rows. A read that met a broken connection is tried once more."""
        return await self._read(name, lambda connection: connection.fetch(self._statements[name], *arguments))

    async def row(self, name: str, *arguments: Any) -> Row | None:
        """Read the first row, or None. Tried once more as `rows` is."""
        return await self._read(name, lambda connection: connection.fetchrow(self._statements[name], *arguments))

    async def change(self, name: str, *arguments: Any, seconds: float = USUAL_SECONDS) -> Row | None:
        """Run a statement that writes, once, and return its first row, or None. Raises the problem of a broken constraint."""
        return await self._run(name, lambda connection: connection.fetchrow(self._statements[name], *arguments), seconds)

    async def changes(self, name: str, *arguments: Any) -> Sequence[Row]:
        """Run a statement that writes, once, and return all its rows."""
        return await self._run(name, lambda connection: connection.fetch(self._statements[name], *arguments), USUAL_SECONDS)

    async def ping(self, seconds: float) -> bool:
        """Tell whether the database answers in time."""
        try:
            await self._run("ping", lambda connection: connection.fetchval("SELECT 1"), seconds)
        except Unavailable:
            return False
        return True

    async def _read(self, name: str, run: Callable[[Any], Awaitable[T]]) -> T:
        clock = asyncio.get_running_loop().time
        end = clock() + USUAL_SECONDS
        try:
            return await self._run(name, run, USUAL_SECONDS)
        except Unavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                raise
            return await self._run(name, run, max(0.0, end - clock()))

    async def _run(self, name: str, run: Callable[[Any], Awaitable[T]], seconds: float) -> T:
        try:
            # Not acquire(timeout=): in Python 3.11 that makes a task of every wait, a tenth of a request's time.
            async with asyncio.timeout(seconds), self._connection() as connection:
                return await run_to_the_end(run, connection)
        except BROKEN as error:
            log.warning("database unavailable", extra={"statement": name, "reason": type(error).__name__})
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError) and self._pool:
                # A failover has left us at what is now a standby: have every connection look up the server anew.
                await self._pool.expire_connections()
            raise Unavailable from error
        except asyncpg.LockNotAvailableError as error:
            raise Locked from error
        except asyncpg.PostgresError as error:
            if isinstance(error, asyncpg.IntegrityConstraintViolationError) and error.constraint_name in BY_CONSTRAINT:
                raise BY_CONSTRAINT[error.constraint_name]() from error
            # Its message may quote what people wrote: the log gets the statement and the SQLSTATE alone.
            log.error("statement failed", extra={"statement": name, "sqlstate": error.sqlstate})  # noqa: TRY400
            raise Problem from error

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Take a connection of the pool; one on which something is cut off is not used again."""
        pool = self._pool
        if pool is None:
            raise Unavailable
        if self._turns.locked():
            self.waits += 1
        async with self._turns:
            connection = await pool.acquire()
            try:
                yield connection
            except asyncio.CancelledError:
                # Nobody knows what it is still about; asking it, or the server, could take for ever.
                connection.terminate()
                raise
            finally:
                await pool.release(connection, timeout=CLOSE_SECONDS)


DATABASE: Final[web.AppKey[Database]] = web.AppKey("database")


async def run_to_the_end(run: Callable[[Any], Awaitable[T]], connection: Any) -> T:
    """Run a statement, and once more where it waited for another one in a circle: the server has undone it as a whole."""
    try:
        return await run(connection)
    except asyncpg.DeadlockDetectedError:
        # The other one gets on first, or they meet again.
        await asyncio.sleep(YIELD_SECONDS)
        return await run(connection)


async def set_codecs(connection: asyncpg.Connection) -> None:
    """Have ids and addresses as text, and JSON as text that goes into a reply as it is."""
    for name in ("uuid", "inet"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=str, format="text")
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=orjson.Fragment, format="text")


async def _refuse_open_transaction(connection: asyncpg.Connection) -> None:
    """Keep the pool clean without asyncpg's default reset, which costs a round trip for every statement.

    Statements here run alone and set nothing; a connection that still has a transaction open is thrown away.
    """
    if connection.is_in_transaction():
        raise asyncpg.InterfaceError("a transaction was left open")
