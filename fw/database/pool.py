"""The pool of connections. Errors of the driver become problems here and nowhere else."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import asyncpg
import orjson
from aiohttp import web

from fw.config import Config
from fw.database import statements
from fw.database.leases import BROKEN, Leases, break_off, refuse_open_transaction
from fw.database.rotation import Rotation
from fw.errors import BY_CONSTRAINT, Problem, Unavailable

log = logging.getLogger("fw.database")

Row = Mapping[str, Any]
T = TypeVar("T")

USUAL_SECONDS: Final = 5.0
"""How long a statement may take, with the wait for its connection; then the server is taken for dead."""
STATEMENT_SECONDS: Final = 10.0
"""After how long the server cancels a statement; only calls that ask for it wait that long."""
LOOK_SECONDS: Final = 2.0
"""How long the start waits for the database, which may come later."""
YIELD_SECONDS: Final = 0.1

SPREAD_SETTINGS: Final = "SET plan_cache_mode = auto; SET citus.override_table_visibility = off"
"""What a connection needs if Citus spreads the tables. With a generic plan Citus does not know which machine has the rows.
While Citus hides the parts of tables, the driver's look at a type takes a second, on each new connection."""
CONSTRAINT: Final = re.compile(r'constraint "(\w+?)(?:_\d+)?"')


class Locked(Unavailable):
    """Something that the statement has to change is locked, and was not free in time."""

    sentence = "Something else is changing this right now; try again."


class Database:
    """Runs named statements. Every wait is bounded: if it takes too long, `Unavailable` (503) is raised."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._statements = statements.statements()
        self._is_spread: bool | None = None
        self._leases: Leases | None = None
        # In the pool's own queue whoever asks most gets most, and new callers can overtake the one that has waited longest.
        self._turns = Rotation(config.db_pool)
        self.waits = 0
        """How many statements had to wait for a connection."""

    @property
    def is_spread(self) -> bool:
        """Whether Citus spreads the tables over several machines; that is known once there has been a connection."""
        return bool(self._is_spread)

    @property
    def size(self) -> int:
        """How many connections there are."""
        return self._leases.size if self._leases else 0

    @property
    def in_use(self) -> int:
        return self._leases.in_use if self._leases else 0

    async def __aenter__(self) -> Self:
        # The process also starts if there is no database.
        pool = await asyncpg.create_pool(
            self._config.database_url,
            min_size=0,
            max_size=self._config.db_pool,
            init=self._prepare,
            reset=refuse_open_transaction,
            timeout=USUAL_SECONDS,
            statement_cache_size=0 if self._config.is_pooled else 1024,
            server_settings=self._session_settings(),
        )
        self._leases = Leases(pool)
        await self._learn(pool)
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        leases, self._leases = self._leases, None
        if leases is not None:
            await leases.close()

    def _session_settings(self) -> dict[str, str]:
        settings = {"application_name": "feedbackwave"}
        if not self._config.is_pooled:
            # A pooler refuses settings that it does not know.
            # A backend whose client is gone would go on with its statement.
            settings["client_connection_check_interval"] = "1000"
            settings["statement_timeout"] = f"{STATEMENT_SECONDS * 1000:.0f}"
            # The best plan of our statements does not depend on the values, and to plan takes longer than to read a page.
            settings["plan_cache_mode"] = "force_generic_plan"
        return settings

    async def _learn(self, pool: asyncpg.Pool) -> None:
        """Make the first connection, which tells how the tables stand, unless there is no database yet."""
        with suppress(*BROKEN, asyncpg.PostgresError):
            async with asyncio.timeout(LOOK_SECONDS), pool.acquire():
                pass

    async def _prepare(self, connection: asyncpg.Connection) -> None:
        """Make a new connection ready."""
        await set_codecs(connection)
        if self._is_spread is None:
            self._is_spread = await has_spread_tables(connection)
            if self._is_spread:
                self._statements = statements.statements(is_spread=True)
        if self.is_spread and not self._config.is_pooled:
            await connection.execute(SPREAD_SETTINGS)

    def share(self, most: int) -> "Share":
        """Return a part of the connections, for work in the background."""
        return Share(self._config, self, most)

    async def rows(self, name: str, *arguments: Any) -> Sequence[Row]:
        """Read all rows. If the connection breaks, the statement is tried once more."""
        return await self._read(name, lambda connection: connection.fetch(self.statement(name), *arguments))

    async def row(self, name: str, *arguments: Any) -> Row | None:
        """Read the first row, or None. If the connection breaks, the statement is tried once more."""
        return await self._read(name, lambda connection: connection.fetchrow(self.statement(name), *arguments))

    async def change(self, name: str, *arguments: Any, seconds: float = USUAL_SECONDS) -> Row | None:
        """Run a statement that writes, once, and return its first row, or None. Raises `EmailTaken`, `UsernameTaken`."""
        return await self.run(name, lambda connection: connection.fetchrow(self.statement(name), *arguments), seconds)

    async def changes(self, name: str, *arguments: Any) -> Sequence[Row]:
        """Run a statement that writes, once, and return all its rows."""
        return await self.run(name, lambda connection: connection.fetch(self.statement(name), *arguments), USUAL_SECONDS)

    def statement(self, name: str) -> str:
        """Return the text of a statement. To be called on a connection: only then it is known which tables there are."""
        return self._statements[name]

    async def ping(self, seconds: float) -> bool:
        """Tell whether the database answers in time."""
        try:
            await self.run("ping", lambda connection: connection.fetchval("SELECT 1"), seconds)
        except Unavailable:
            return False
        return True

    async def _read(self, name: str, run: Callable[[Any], Awaitable[T]]) -> T:
        clock = asyncio.get_running_loop().time
        end = clock() + USUAL_SECONDS
        try:
            return await self.run(name, run, USUAL_SECONDS)
        except Unavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                raise
            return await self.run(name, run, max(0.0, end - clock()))

    async def run(self, name: str, run: Callable[[Any], Awaitable[T]], seconds: float) -> T:
        """Run a function on a connection, for a statement with this name, within so many seconds."""
        try:
            # Not acquire(timeout=): in Python 3.11 that makes a task for every wait, which takes a tenth of a request's time.
            async with asyncio.timeout(seconds):
                return await self._on_connection(run)
        except BROKEN as error:
            log.warning("database unavailable", extra={"statement": name, "reason": type(error).__name__})
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError) and self._leases:
                # After a failover this server is a standby: new connections look up the address again.
                await self._leases.expire()
            raise Unavailable from error
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            raise Locked from error
        except asyncpg.PostgresError as error:
            if problem := BY_CONSTRAINT.get(constraint_of(error)):
                raise problem() from error
            # The message may quote what people wrote, so only the statement's name and the SQLSTATE are logged.
            log.error("statement failed", extra={"statement": name, "sqlstate": error.sqlstate})  # noqa: TRY400
            raise Problem from error
        except (ValueError, OverflowError) as error:
            # The driver cannot read what is stored: a time after the year 9999, say.
            log.error("statement failed", extra={"statement": name, "reason": type(error).__name__})  # noqa: TRY400
            raise Problem from error

    async def _on_connection(self, run: Callable[[Any], Awaitable[T]]) -> T:
        """Run on a connection. If it is cancelled, the connection is closed and not used again."""
        leases = self._leases
        if leases is None:
            raise Unavailable
        if self._turns.are_taken:
            self.waits += 1
        await self._turns.take()
        try:
            connection = await leases.take()
            try:
                return await run_to_the_end(run, connection)
            except asyncio.CancelledError:
                break_off(connection)
                raise
            finally:
                leases.give_back(connection)
        finally:
            self._turns.give_back()


class Share(Database):
    """Runs statements on at most so many connections of another one, and leaves the rest to requests.

    It is opened and closed with that. A statement waits for its turn as long as it takes.
    """

    def __init__(self, config: Config, whole: Database, most: int) -> None:
        super().__init__(config)
        self._whole = whole
        self._places = asyncio.Semaphore(most)

    async def run(self, name: str, run: Callable[[Any], Awaitable[T]], seconds: float) -> T:
        async with self._places:
            return await self._whole.run(name, run, seconds)

    @property
    def is_spread(self) -> bool:
        return self._whole.is_spread

    def statement(self, name: str) -> str:
        return self._whole.statement(name)


DATABASE: Final[web.AppKey[Database]] = web.AppKey("database")


async def run_to_the_end(run: Callable[[Any], Awaitable[T]], connection: Any) -> T:
    """Run a statement, and once more if it ended in a deadlock: the server has then undone all of it."""
    try:
        return await run(connection)
    except asyncpg.DeadlockDetectedError:
        # The other statement has to end first, or both meet again.
        await asyncio.sleep(YIELD_SECONDS)
        return await run(connection)


def constraint_of(error: asyncpg.PostgresError) -> str:
    """Return the name of the constraint that a statement broke; "" if it broke none.

    Citus tells it in the message alone, with the number of the shard behind it.
    """
    found = CONSTRAINT.search(error.message or "")
    return error.constraint_name or (found[1] if found else "")


async def has_spread_tables(connection: asyncpg.Connection) -> bool:
    """Tell whether Citus spreads the inboxes of this database over several machines."""
    named = statements.statements()
    is_possible = await connection.fetchval(named["distribution.is_possible"])
    return bool(is_possible and await connection.fetchval(named["distribution.is_spread"]))


async def set_codecs(connection: asyncpg.Connection) -> None:
    """Read ids and addresses as text, and JSON as text that goes into an answer unchanged."""
    for name in ("uuid", "inet"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=str, format="text")
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, schema="pg_catalog", encoder=str, decoder=orjson.Fragment, format="text")
