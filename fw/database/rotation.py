"""Gives connections out in turn by who asks for them, so that nobody's many requests hold up everybody else's few."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final


def nobody() -> str:
    return ""


ASKER: Final[ContextVar[Callable[[], str]]] = ContextVar("asker", default=nobody)
"""Tells on whose behalf the task runs: an account's id or an address; "" for the program's own work. It is asked only if it has
to wait.
"""


class Rotation:
    """So many turns at a time. If all are taken, each asker's requests wait in a line, and the lines are served in rotation."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def are_taken(self) -> bool:
        return not self._free

    async def take(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(ASKER.get()(), deque()).append(turn)
        try:
            await turn
        except BaseException:
            if not turn.cancelled():
                # The turn was handed over just when this task was cancelled.
                self.give_back()
            raise

    def give_back(self) -> None:
        """Free a turn, or hand it to the one that waits longest in the line whose turn it is."""
        while self._lines:
            asker = next(iter(self._lines))
            line = self._lines.pop(asker)
            turn = line.popleft()
            if line:
                # To the end.
                self._lines[asker] = line
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
