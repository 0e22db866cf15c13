"""The ear on PostgreSQL: one supervised connection that turns notifications into hints for the hub."""

import asyncio
import contextlib
import logging
from typing import Any, Final, Self

import asyncpg

from fw.config import Config
from fw.database import BROKEN
from fw.inbox.hub import Hub

log = logging.getLogger("fw.listener")

INBOXES: Final = "fw_inbox"
SESSIONS: Final = "fw_session"
CONNECT_SECONDS: Final = 5.0
PROBE_SECONDS: Final = 5.0
"""How often, and how long at most, the connection is asked for a sign of life: a silent one is known dead after 10 s."""
SWEEP_SECONDS: Final = 30.0
"""How often everybody is woken without a hint, for one that never came."""
RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)


class Listener:
    """Listens on a connection of its own, never one of the pool (LISTEN ends at release), and reconnects for ever."""

    def __init__(self, config: Config, hub: Hub) -> None:
        self._url = config.direct_url
        self._hub = hub
        self._task: asyncio.Task[None] | None = None
        self.is_listening = False

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _supervise(self) -> None:
        attempt = 0
        while True:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    connection = await asyncpg.connect(self._url, server_settings={"application_name": "feedbackwave listener"})
                try:
                    await self._listen(connection)
                    attempt = 0
                    await self._probe(connection)
                finally:
                    self.is_listening = False
                    connection.terminate()
            except (*BROKEN, asyncpg.PostgresError) as error:
                log.warning("listener lost: %s", type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
            attempt += 1

    async def _listen(self, connection: asyncpg.Connection) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.add_listener(INBOXES, self._hear)
            await connection.add_listener(SESSIONS, self._hear)
        self.is_listening = True
        log.info("listening")
        # Whatever happened while nobody listened is read now.
        self._hub.wake_all()

    async def _probe(self, connection: asyncpg.Connection) -> None:
        """Return, or raise, when the connection is dead: closed, or silent for too long."""
        closed = asyncio.Event()
        connection.add_termination_listener(lambda _: closed.set())
        clock = asyncio.get_running_loop().time
        swept = clock()
        while not connection.is_closed():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(closed.wait(), PROBE_SECONDS)
            if closed.is_set():
                return
            async with asyncio.timeout(PROBE_SECONDS):
                await connection.execute("SELECT 1")
            if clock() - swept >= SWEEP_SECONDS:
                swept = clock()
                self._hub.wake_all()

    def _hear(self, connection: Any, pid: int, channel: str, payload: object) -> None:
        user_ids = str(payload).split(",")
        if channel == INBOXES:
            self._hub.wake(user_ids)
        else:
            self._hub.doubt(user_ids)
