"""Turns: bound how many requests of one user are worked on at once, so that a busy account does not slow the others."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from fw.errors import TooManyRequests
from fw.web.limits import too_many_at_once

WAIT_SECONDS: Final = 1.0
"""How long a request waits for its turn before it is refused. The time of its statement comes on top of it."""


class _Line:
    """The turns of one user: how many are taken, and the requests that wait for one."""

    __slots__ = ("taken", "waiting")

    def __init__(self) -> None:
        self.taken = 0
        self.waiting: deque[asyncio.Future[None]] = deque()


class Turns:
    """Gives each user at most `most` turns at a time. Further requests wait in line, and are refused if that takes too long."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self._most = most
        self._lines: dict[str, _Line] = {}
        self.refused = 0

    async def take(self, user_id: str) -> None:
        """Take a turn; `give_back` frees it. Raises `TooManyRequests`."""
        line = self._lines.get(user_id)
        if line is None:
            line = self._lines[user_id] = _Line()
        if line.taken < self._most:
            line.taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append(turn)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except BaseException as error:
            if not turn.cancelled():
                # The turn was handed over just when this request gave up.
                self.give_back(user_id)
            if isinstance(error, TimeoutError):
                self.refused += 1
                raise self._refusal() from None
            raise

    def give_back(self, user_id: str) -> None:
        """Free a turn, or hand it to the request that has waited longest."""
        line = self._lines[user_id]
        # If a pause ended without a turn, one too many is counted: that one is handed to nobody.
        while line.waiting and line.taken <= self._most:
            turn = line.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        line.taken -= 1
        if not line.taken and not line.waiting:
            del self._lines[user_id]

    @asynccontextmanager
    async def turn(self, user_id: str) -> AsyncIterator[None]:
        """Hold a turn. Raises `TooManyRequests`."""
        await self.take(user_id)
        try:
            yield
        finally:
            self.give_back(user_id)

    @asynccontextmanager
    async def pause(self, user_id: str) -> AsyncIterator[None]:
        """Give the turn back during a block, and take one again after it. Raises `TooManyRequests` if none is free in time."""
        self.give_back(user_id)
        taken = False
        try:
            yield
            await self.take(user_id)
            taken = True
        finally:
            if not taken:
                # The caller gives a turn back at its end, so one has to be counted.
                self._lines.setdefault(user_id, _Line()).taken += 1

    def _refusal(self) -> TooManyRequests:
        return too_many_at_once(
            self.name,
            self._most,
            1,
            "This account has as many requests under way as it may; wait for some of them to be answered.",
        )


LONG_TURNS: Final[web.AppKey[Turns]] = web.AppKey("long turns")
"""The turns of what may have to look at every item of an inbox."""
TURNS: Final[web.AppKey[Turns]] = web.AppKey("turns")
