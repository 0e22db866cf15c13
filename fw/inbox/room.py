"""The sockets of one inbox."""

import asyncio
import logging

from fw.inbox.feed import Reading
from fw.inbox.frames import as_frames
from fw.inbox.sockets import Socket

log = logging.getLogger("fw.hub")


class Room:
    """The sockets of one inbox. Those that are live have been sent everything up to `cursor`."""

    __slots__ = ("cursor", "is_reading_on", "moves", "replay", "sockets")

    def __init__(self) -> None:
        # There are few: a list takes a tenth of a set's memory.
        self.sockets: list[Socket] = []
        self.cursor = 0
        self.moves = 0
        """How often the inbox has moved, as far as is known."""
        self.is_reading_on = False
        """Whether there is more than one reading holds for the live sockets, which is being read for this inbox alone."""
        # Sockets catch up one at a time: the reads of all of them at once would make everybody else wait.
        self.replay = asyncio.Lock()

    @property
    def live(self) -> list[Socket]:
        return [socket for socket in self.sockets if socket.is_live]

    def go_live(self, socket: Socket) -> bool:
        """Make a socket live. Returns False if it first has to catch up with those that are."""
        cursor = socket.cursor or 0
        others = self.live
        if others and cursor < self.cursor:
            return False
        if not others:
            self.cursor = cursor
        socket.is_live = True
        return True

    def deliver(self, reading: Reading) -> list[Socket]:
        """Write a reading, which began at `cursor`, to the live sockets. Returns those that are live no more: too much waits
        for them.
        """
        self.cursor = reading.cursor
        if not reading.is_lost and not reading.rows:
            return []
        frames = as_frames(reading.events())
        behind = []
        for socket in self.live:
            try:
                socket.deliver(reading, frames)
            # A fault of one reader must not stop the others; it can connect again with its cursor.
            except Exception as error:  # noqa: BLE001
                log.warning("a reader could not be written to", extra={"reason": type(error).__name__})
                socket.abort()
            else:
                if not socket.is_live:
                    behind.append(socket)
        return behind
