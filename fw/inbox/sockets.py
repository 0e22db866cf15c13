"""Live sockets: what is written to the readers of an inbox, and how far each of them has got."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aiohttp import WSMsgType

from fw.accounts.tokens import Caller
from fw.inbox.feed import Reading
from fw.inbox.frames import as_frames, frame
from fw.inbox.websocket import Close, WebSocket
from fw.web.progress import not_taken

BUFFER_BYTES: Final = 256 * 1024
"""How much may wait in memory for a reader; one that is further behind is sent the rest as it takes it."""
STALLED_SECONDS: Final = 15.0
"""How long a reader may take nothing while something waits for it."""
PING_SECONDS: Final = 25.0
"""Routers cut sockets that are idle for 55 s (Heroku)."""
LINGER_SECONDS: Final = 30.0
"""How long a reader that is too slow has to read up to the reason."""
PING: Final = frame(b"", WSMsgType.PING)


class Socket(WebSocket):
    """A reader of an inbox, once it is known whose it is.

    A live one is written to without waiting. If more than `BUFFER_BYTES` wait in its transport it is live no more, and has to
    catch up again: then no more is read from the database than it takes.
    """

    __slots__ = ("_on_left", "_pinged_at", "_taken", "_taken_at", "caller", "cursor", "is_greeted", "is_live")

    def __init__(self, since: int | None, on_left: Callable[["Socket"], None]) -> None:
        super().__init__()
        self._on_left = on_left
        self._taken = 0
        self._pinged_at = self._taken_at = asyncio.get_running_loop().time()
        self.caller: Caller | None = None
        self.cursor = since
        """Up to where the reader has been sent everything; None if it has been sent nothing and wants nothing older."""
        self.is_greeted = False
        self.is_live = False

    @property
    def user_id(self) -> str:
        assert self.caller
        return self.caller.user_id

    @property
    def session_id(self) -> str:
        assert self.caller
        return self.caller.session_id

    def left(self) -> None:
        self._on_left(self)

    def replay(self, reading: Reading) -> int:
        """Write the events of a reading to this reader, which is not live; the first time after a `hello`. Returns how many."""
        events: list[dict[str, Any]] = []
        if not self.is_greeted:
            self.is_greeted = True
            events.append({"event": "hello", "cursor": reading.position, "unread_count": reading.unread_count})
        if self.cursor is None:
            self.cursor = reading.position
        else:
            events += reading.events()
            self.cursor = reading.cursor
        self.write(as_frames(events))
        return len(reading.rows)

    def deliver(self, reading: Reading, frames: bytes) -> None:
        """Write what is new to this reader, if it is live: `frames`, if its cursor is where the reading began."""
        if self.is_over or not self.is_live:
            return
        if self.cursor != reading.since and not reading.is_lost:
            frames = as_frames(reading.events(self.cursor))
        self.cursor = reading.cursor if reading.is_lost else max(self.cursor or 0, reading.cursor)
        self.write(frames)
        self.is_live = self.transport.get_write_buffer_size() <= BUFFER_BYTES

    def tend(self, now: float) -> None:
        """Close the socket if its session has ended or its reader has taken nothing for too long; ping it when that is due.

        Called about every second.
        """
        if self.code is not None or self.caller is None:
            return
        if self.caller.seconds_left <= 0:
            self.close(Close.UNAUTHORIZED)
            return
        is_waiting = self.transport.get_write_buffer_size() > 0
        is_due = now - self._pinged_at >= PING_SECONDS
        # Asking the kernel takes time, so it is done only if needed.
        if is_waiting or is_due:
            missing = not_taken(self.transport)
            taken = self.written - missing
            if not missing or taken > self._taken:
                self._taken, self._taken_at = taken, now
            elif now - self._taken_at >= STALLED_SECONDS:
                # The reader has taken nothing of what waits or, if it was idle, not acknowledged the last ping.
                self.close(Close.TOO_SLOW, LINGER_SECONDS)
        if is_due:
            self._pinged_at = now
            if not is_waiting:
                self.write(PING)
