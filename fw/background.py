"""Background tasks: they run as long as the application, and are started again if they fail."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Self

from aiohttp import web

log = logging.getLogger("fw.background")

RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
STEADY_SECONDS: Final = 60.0
"""After so long without a failure the next one counts as the first again."""

Work = Callable[[], Awaitable[None]]


class Task:
    """Work that never ends. If it fails, that is logged and counted, and the work begins again after a while."""

    def __init__(self, name: str, work: Work) -> None:
        self.name = name
        self.is_running = False
        """False before the start, after the end, and between a failure and the next attempt."""
        self.failures = 0
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.is_running = True
        self._task = asyncio.create_task(self._supervise(), name=self.name)
        return self

    async def __aexit__(self, *_: object) -> None:
        task, self._task = self._task, None
        if task:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _supervise(self) -> None:
        clock = asyncio.get_running_loop().time
        attempt = 0
        try:
            while True:
                begun_at = clock()
                self.is_running = True
                try:
                    await self._work()
                    log.error("task ended", extra={"task": self.name})
                # The work has to go on after any error.
                except Exception:
                    log.exception("task failed", extra={"task": self.name})
                self.is_running = False
                self.failures += 1
                attempt = 0 if clock() - begun_at >= STEADY_SECONDS else attempt
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
                attempt += 1
        finally:
            self.is_running = False


class Background:
    """All tasks of an application, by their names."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def task(self, name: str, work: Work) -> Task:
        """Make a task, and list it; the caller opens and closes it."""
        made = Task(name, work)
        self.tasks.append(made)
        return made

    def every(self, name: str, seconds: Callable[[], float], work: Work) -> Task:
        """Make a task that repeats a piece of work, with so many seconds before each time."""

        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds())
                await work()

        return self.task(name, repeat)

    @property
    def stopped(self) -> list[str]:
        """The names of the tasks that do not run."""
        return [task.name for task in self.tasks if not task.is_running]


BACKGROUND: Final[web.AppKey[Background]] = web.AppKey("background")
