"""All connections of a process: who makes room if there are too few descriptors, or if too much waits in memory."""

import asyncio
from heapq import nsmallest
from operator import itemgetter
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from fw.web.descriptors import Descriptors
from fw.web.protocol import ProblemHandler
from fw.web.unfinished import Unfinished

STALLED_SECONDS: Final = 30.0
UNTAKEN_BYTES: Final = 64 * 1024 * 1024
"""How much of all responses may wait for clients: some 60 of the longest, and twice that of memory."""
ENDING_SECONDS: Final = 3.0
"""How long a client may take nothing of its response when the server stops."""
UNFINISHED_BYTES: Final = 32 * 1024 * 1024
"""How much may have come of all requests that are not answered: some 500 of the longest, and twice that of memory."""
CLOSED: Final = 16
"""How many connections at least make room for new ones."""
IDLE_SECONDS: Final = 0.1
"""If fewer connections than that are idle, they are looked for again after so long."""
WHOLE_SECONDS: Final = 5.0
"""Within what time an honest request is whole, but for few."""


class ProblemServer(web.Server):
    """Handles connections by `ProblemHandler`, and closes those that it has no file descriptors for."""

    def __init__(self, *arguments: Any, descriptors: Descriptors, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._descriptors = descriptors
        self.unfinished = Unfinished(UNFINISHED_BYTES)
        self.is_ending = False
        # Until then there are few idle connections.
        self._few_until = 0.0

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        descriptor = transport.get_extra_info("socket").fileno()
        if not self._descriptors.are_scarce(descriptor):
            return
        self._make_room(self._loop.time())
        if not self._descriptors.suffice(descriptor, self._loop.time()):
            # Not at once: the handler is not ready yet.
            self._loop.call_soon(transport.abort)

    def _make_room(self, now: float) -> None:
        """Close those that have been idle longest; if most are requests that do not become whole, or few are idle, those of
        them that have been silent longest. If most are requests, but all of them young, and nothing is idle, somebody begins
        them anew again and again: honest ones are young for a moment.

        To look for idle ones takes time, so it is some at once, and not again at once if there are few.
        """
        are_few = now < self._few_until
        are_unfinished = 2 * len(self.unfinished) >= len(self.connections)
        if (are_unfinished or are_few) and self.unfinished.close_silent(CLOSED, now, WHOLE_SECONDS):
            return
        if not are_few and self._close_idle(now):
            return
        if are_unfinished:
            self.unfinished.close_silent(CLOSED, now, 0.0)

    def _close_idle(self, now: float) -> bool:
        """Close those that have been idle longest. Returns whether there are any."""
        handlers = (handler for handler in self.connections if isinstance(handler, ProblemHandler))
        idle = [(until, handler) for handler in handlers if (until := handler.idle_until) is not None]
        if len(idle) < CLOSED:
            self._few_until = now + IDLE_SECONDS
        for _, handler in nsmallest(max(CLOSED, len(idle) // 64), idle, key=itemgetter(0)):
            # Not when its client has taken the last answer: that may be never.
            handler.abort()
        return bool(idle)

    def pre_shutdown(self) -> None:
        self.is_ending = True
        super().pre_shutdown()

    async def receive_the_rest(self, seconds: float) -> None:
        """Wait for the bodies that were coming when the server began to stop, and close connections if theirs do not come."""
        late = {each.last: each for each in self.connections if isinstance(each, ProblemHandler) and each.last}
        if late:
            _, pending = await asyncio.wait(late, timeout=seconds)
            for task in pending:
                late[task].drop()

    def __call__(self) -> RequestHandler:
        return ProblemHandler(self, self.unfinished, loop=self._loop, **self._kwargs)

    async def sweep(self) -> None:
        """Close connections that are dead, silent or stalled; and, if too much waits for all clients, those of the slowest."""
        now, seconds = self._loop.time(), ENDING_SECONDS if self.is_ending else STALLED_SECONDS
        waiting: list[tuple[ProblemHandler, int]] = []
        for handler in self.connections:
            if isinstance(handler, ProblemHandler):
                handler.close_if_dead()
                handler.close_if_silent(now)
                if size := handler.close_if_stalled(now, seconds):
                    waiting.append((handler, size))
        excess = sum(size for _, size in waiting) - UNTAKEN_BYTES
        if excess > 0:
            waiting.sort(key=lambda one: one[0].taken_lately)
            for handler, size in waiting:
                if excess > 0:
                    handler.abort()
                    excess -= size
