"""Gives connections out in turn by who asks for them, so that nobody's many requests hold up everybody else's few."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from enum import Enum
from typing import Final


class Kind(Enum):
    """On whose behalf something is done. The kinds take turns too: anybody can ask from any number of addresses."""

    OWN = "the program's own work: batches of submissions are everybody's"
    SIGNED_IN = "an account"
    ANYBODY = "an address"


Asker = tuple[Kind, str]


def itself() -> Asker:
    return Kind.OWN, ""


ASKER: Final[ContextVar[Callable[[], Asker]]] = ContextVar("asker", default=itself)
"""Tells on whose behalf the task runs: the kind, and which account or address. It is asked only if the task has to wait."""


class Rotation:
    """So many turns at a time. If all are taken, the kinds are served in rotation, and so are the askers of each kind."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._lines: dict[Kind, dict[str, deque[asyncio.Future[None]]]] = {}

    @property
    def are_taken(self) -> bool:
        return not self._free

    async def take(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        kind, name = ASKER.get()()
        self._lines.setdefault(kind, {}).setdefault(name, deque()).append(turn)
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
            turn = self._next()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _next(self) -> asyncio.Future[None]:
        """Take the first out of the first line of the first kind; both go to the end, if anything is left of them."""
        kind = next(iter(self._lines))
        lines = self._lines.pop(kind)
        name = next(iter(lines))
        line = lines.pop(name)
        turn = line.popleft()
        if line:
            lines[name] = line
        if lines:
            self._lines[kind] = lines
        return turn
