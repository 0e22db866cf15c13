"""Who waits for which inbox. A hint only says that an inbox moved; what moved is read from the table."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Hub:
    """Wakes those who watch an inbox. Watch first and read then: a change in between is not missed."""

    def __init__(self) -> None:
        self._watches: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.is_closed = False

    @contextmanager
    def watch(self, user_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the inbox moves; the watcher clears it before it reads."""
        moved = asyncio.Event()
        self._watches[user_id].add(moved)
        try:
            yield moved
        finally:
            self._watches[user_id].discard(moved)
            if not self._watches[user_id]:
                del self._watches[user_id]

    def wake(self, user_ids: Iterable[str]) -> None:
        """Wake those who watch these inboxes."""
        for user_id in user_ids:
            for moved in self._watches.get(user_id, ()):
                moved.set()

    def wake_all(self) -> None:
        """Wake everybody: hints may have been lost."""
        self.wake(list(self._watches))

    def close(self) -> None:
        """Wake everybody to find the server going: nobody is to wait any longer."""
        self.is_closed = True
        self.wake_all()
