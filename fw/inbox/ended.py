"""Closes the live sockets whose sessions have ended."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self

from fw.background import Background
from fw.database.pool import Database
from fw.errors import Problem
from fw.inbox.sockets import Socket
from fw.inbox.websocket import Close

log = logging.getLogger("fw.hub")

RETRY_SECONDS: Final = 0.5


class EndedSessions:
    """Looks up the sessions of users who may have ended some. Its task is its own: however much there is to read and send to
    other readers, a session that has ended closes its sockets at once.
    """

    def __init__(self, database: Database, sockets_of: Callable[[str], Sequence[Socket]], background: Background) -> None:
        self._database = database
        self._sockets_of = sockets_of
        self._to_check: set[str] = set()
        self._work = asyncio.Event()
        self._task = background.task("ended sessions", self._close_for_ever)

    async def __aenter__(self) -> Self:
        await self._task.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._task.__aexit__()

    def check(self, user_ids: Iterable[str]) -> None:
        """Have the sessions of these users looked up, if they have sockets."""
        self._to_check.update(user_ids)
        if self._to_check:
            self._work.set()

    async def _close_for_ever(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            to_check, self._to_check = self._to_check, set()
            try:
                await self._close([socket for user_id in to_check for socket in self._sockets_of(user_id)])
            except BaseException as error:
                self.check(to_check)
                if not isinstance(error, Problem):
                    raise
                log.warning("sessions wait for the database", extra={"users": len(to_check)})
                await asyncio.sleep(RETRY_SECONDS)

    async def _close(self, sockets: Sequence[Socket]) -> None:
        if not sockets:
            return
        rows = await self._database.rows(
            "sessions.live_of", [socket.user_id for socket in sockets], [socket.session_id for socket in sockets]
        )
        live = {row["id"] for row in rows}
        for socket in sockets:
            if socket.session_id not in live:
                socket.close(Close.UNAUTHORIZED)
