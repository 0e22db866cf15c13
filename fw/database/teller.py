"""Sends hints after the changes that they are about are committed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextvars import Context
from typing import Final

log = logging.getLogger("fw.bus")

EVERYBODY: Final = "*"
"""Stands for all users in a hint, if there are too many to name."""
MOST: Final = 10_000
"""How many users may wait to be named in hints of one channel."""
SEND_SECONDS: Final = 0.5
RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0)
CLOSE_SECONDS: Final = 1.0

Send = Callable[[str, list[str]], Awaitable[None]]
"""Sends a hint on a channel about users. It may raise anything."""


class Teller:
    """Sends hints in the background, many together; if that fails, again and again, and nothing is forgotten meanwhile."""

    def __init__(self, send: Send) -> None:
        self._send = send
        # Dicts and not sets: they keep the order.
        self._waiting: dict[str, dict[str, None]] = {}
        self._task: asyncio.Task[None] | None = None

    def tell(self, channel: str, user_ids: Iterable[str]) -> None:
        self._keep(channel, user_ids)
        if self._task is None or self._task.done():
            # In a context of its own: it is not on behalf of the request that happens to begin it.
            self._task = asyncio.create_task(self._send_all(), context=Context())

    async def close(self) -> None:
        """Wait a while for what is to be sent yet."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSE_SECONDS)
            self._task.cancel()

    def _keep(self, channel: str, user_ids: Iterable[str]) -> None:
        waiting = self._waiting.setdefault(channel, {})
        waiting.update(dict.fromkeys(user_ids))
        if len(waiting) > MOST:
            self._waiting[channel] = {EVERYBODY: None}

    async def _send_all(self) -> None:
        attempt = 0
        while self._waiting:
            sending, self._waiting = self._waiting, {}
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    for channel, user_ids in sending.items():
                        await self._send(channel, list(user_ids))
            # The changes are committed: whatever is wrong with the bus, their hints are sent when it works again.
            except Exception as error:  # noqa: BLE001
                for channel, user_ids in sending.items():
                    self._keep(channel, user_ids)
                if not attempt:
                    log.warning("hints wait for the bus", extra={"reason": type(error).__name__})
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
                attempt += 1
            else:
                attempt = 0
