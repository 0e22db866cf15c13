"""A text that takes time to make: whoever asks at the same time gets the same one, and few are made."""

import asyncio
from collections.abc import Callable
from typing import Final

TEXT_SECONDS: Final = 0.25
TEXT_SHARE: Final = 10
"""How long after a text of all metrics the next one is made at the earliest: in seconds, and in times of what it took."""


class SharedText:
    """Makes texts by a function that runs in a thread."""

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._coming: asyncio.Task[bytes] | None = None
        self._lock = asyncio.Lock()
        self._next_at = 0.0

    async def next(self) -> bytes:
        """Return a text that was begun after this call."""
        if self._coming is None:
            self._coming = asyncio.create_task(self._make_next(), name="shared text")
        return await asyncio.shield(self._coming)

    async def _make_next(self) -> bytes:
        clock = asyncio.get_running_loop().time
        async with self._lock:
            await asyncio.sleep(max(0.0, self._next_at - clock()))
            # Whoever asks from here on may have seen more than this text will tell.
            self._coming = None
            begun_at = clock()
            text = await asyncio.to_thread(self._make)
            self._next_at = clock() + max(TEXT_SECONDS, TEXT_SHARE * (clock() - begun_at))
        return text
