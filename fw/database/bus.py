"""The bus that carries hints between processes: that inboxes have moved, sessions have ended, or (by NOTIFY alone, and with the
kind of the jobs in the place of ids) the outbox has jobs. By NOTIFY or by Redis.

A process that gets a hint reads the table, so a lost hint costs time and never data.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol, Self

import asyncpg
from aiohttp import web

from fw.config import Config
from fw.database.leases import BROKEN
from fw.database.pool import Database
from fw.database.teller import Teller

log = logging.getLogger("fw.bus")

INBOXES: Final = "fw_inbox"
SESSIONS: Final = "fw_session"
OUTBOX: Final = "fw_outbox"
CONNECT_SECONDS: Final = 5.0
PAYLOAD_IDS: Final = 200
"""Of 36 characters and a comma each: they stay under the 8,000 bytes of a payload."""

Hear = Callable[[str, list[str]], None]
"""Called with the channel of a hint and the ids of the users that it is about, or `EVERYBODY` for all."""


class Lost(Exception):
    """The connection to the bus is lost, or could not be made."""


class Subscription(Protocol):
    """A connection on which hints come in."""

    is_lost: bool
    """Whether the connection has ended."""

    async def probe(self) -> None:
        """Check that the connection answers. Raises `Lost` if not; the caller bounds the time."""

    async def hear_of_inboxes(self, *, is_wanted: bool) -> None:
        """Begin or cease to hear hints about inboxes. Raises `Lost`; the caller bounds the time."""


class Bus(Protocol):
    """Carries hints to every process that has subscribed, this one too."""

    @property
    def in_transaction(self) -> bool:
        """Whether the statements that change something send the hints themselves, so that `publish` has nothing to do."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    def publish(self, channel: str, user_ids: Collection[str]) -> None:
        """Send a hint about users, after the change is committed. Does not wait for that."""

    def subscribe(self, hear: Hear, on_loss: Callable[[], None]) -> AbstractAsyncContextManager[Subscription]:
        """Call `hear` with every hint until the block ends, and `on_loss` if the connection does.

        Hints about inboxes come once they are asked for. Raises `Lost` if the connection cannot be made.
        """


BUS: Final[web.AppKey[Bus]] = web.AppKey("bus")


class PostgresSubscription:
    def __init__(self, connection: asyncpg.Connection, take: Callable[..., None], on_loss: Callable[[], None]) -> None:
        self._connection, self._take, self._on_loss = connection, take, on_loss
        self.is_lost = False
        connection.add_termination_listener(self._lose)

    def _lose(self, connection: object) -> None:
        self.is_lost = True
        self._on_loss()

    async def probe(self) -> None:
        with lost_if_broken():
            await self._connection.execute("SELECT 1")

    async def hear_of_inboxes(self, *, is_wanted: bool) -> None:
        with lost_if_broken():
            if is_wanted:
                await self._connection.add_listener(INBOXES, self._take)
            else:
                await self._connection.remove_listener(INBOXES, self._take)


@contextlib.contextmanager
def lost_if_broken() -> Iterator[None]:
    """Make `Lost` of an error of the driver."""
    try:
        yield
    except (*BROKEN, asyncpg.PostgresError) as error:
        raise Lost(type(error).__name__) from error


class PostgresBus:
    """LISTEN and NOTIFY. A notification is part of the transaction that it is about: both happen, or neither.

    If the tables are spread over machines, it may be the transaction of another machine, on which nobody listens: then the hint
    is sent after it.
    """

    def __init__(self, config: Config, database: Database) -> None:
        self._url = config.direct_url
        self._database = database
        self._teller = Teller(self._send)

    @property
    def in_transaction(self) -> bool:
        return not self._database.is_spread

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._teller.close()

    def publish(self, channel: str, user_ids: Collection[str]) -> None:
        if not self.in_transaction:
            self._teller.tell(channel, user_ids)

    async def _send(self, channel: str, user_ids: list[str]) -> None:
        for start in range(0, len(user_ids), PAYLOAD_IDS):
            await self._database.change("connections.notify", channel, ",".join(user_ids[start : start + PAYLOAD_IDS]))

    @asynccontextmanager
    async def subscribe(self, hear: Hear, on_loss: Callable[[], None]) -> AsyncIterator[PostgresSubscription]:
        """Listen on a connection that is not in the pool: there LISTEN would end when it is released."""

        def take(connection: Any, pid: int, channel: str, payload: object) -> None:
            hear(channel, str(payload).split(","))

        connection = None
        try:
            with lost_if_broken():
                async with asyncio.timeout(CONNECT_SECONDS):
                    connection = await asyncpg.connect(self._url, server_settings={"application_name": "feedbackwave listener"})
                    await connection.add_listener(SESSIONS, take)
                    await connection.add_listener(OUTBOX, take)
            yield PostgresSubscription(connection, take, on_loss)
        finally:
            if connection is not None:
                connection.terminate()


class RedisSubscription:
    def __init__(self, pubsub: Any, on_loss: Callable[[], None]) -> None:
        self.is_lost = False
        self._pubsub, self._on_loss = pubsub, on_loss
        self._answered = asyncio.Event()

    async def hear(self, hear: Hear) -> None:
        """Pass hints on until the connection ends."""
        try:
            async for message in self._pubsub.listen():
                if message["type"] == "message":
                    hear(message["channel"], message["data"].split(","))
                elif message["type"] == "pong":
                    self._answered.set()
        # After any error of the driver the connection is of no more use.
        except Exception as error:  # noqa: BLE001
            log.warning("redis lost", extra={"reason": type(error).__name__})
        finally:
            self.is_lost = True
            self._on_loss()

    async def hear_of_inboxes(self, *, is_wanted: bool) -> None:
        """Do nothing: these hints come from the beginning."""

    async def probe(self) -> None:
        self._answered.clear()
        try:
            await self._pubsub.ping()
        except Exception as error:
            raise Lost(type(error).__name__) from error
        await self._answered.wait()


class RedisBus:
    """Redis pub/sub, for more hints than NOTIFY can carry: a commit with NOTIFY takes a lock on the whole database."""

    in_transaction = False

    def __init__(self, config: Config) -> None:
        # Imported here: only the extra `redis` installs it.
        from redis.asyncio import Redis

        self._client: Any = Redis.from_url(
            config.redis_url, decode_responses=True, protocol=2, socket_connect_timeout=CONNECT_SECONDS
        )
        self._teller = Teller(self._send)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._teller.close()
        with contextlib.suppress(Exception):
            await self._client.aclose()

    def publish(self, channel: str, user_ids: Collection[str]) -> None:
        self._teller.tell(channel, user_ids)

    async def _send(self, channel: str, user_ids: list[str]) -> None:
        await self._client.publish(channel, ",".join(user_ids))

    @asynccontextmanager
    async def subscribe(self, hear: Hear, on_loss: Callable[[], None]) -> AsyncIterator[RedisSubscription]:
        """Listen on a separate connection."""
        pubsub = self._client.pubsub()
        try:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await pubsub.subscribe(INBOXES, SESSIONS, OUTBOX)
            except Exception as error:
                raise Lost(type(error).__name__) from error
            subscription = RedisSubscription(pubsub, on_loss)
            hearing = asyncio.create_task(subscription.hear(hear))
            try:
                yield subscription
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
        finally:
            with contextlib.suppress(Exception):
                await pubsub.aclose()


def make_bus(config: Config, database: Database) -> Bus:
    """Return the bus that the configuration asks for."""
    return RedisBus(config) if config.redis_url else PostgresBus(config, database)
