"""Writes the log from a thread of its own: whatever reads it may stand still, and the service must not."""

import logging
import threading
from collections import deque
from typing import Final, Self, TextIO

log = logging.getLogger("fw.log")

MOST_CHARACTERS: Final = 4_000_000
"""How much may wait to be written: half a minute's requests of a busy process."""
CLOSE_SECONDS: Final = 1.0


class Aside:
    """A stream in front of another one, to which a thread writes. What does not fit any more is dropped, and counted."""

    def __init__(self, stream: TextIO, most: int = MOST_CHARACTERS) -> None:
        self._stream = stream
        self._most = most
        self._texts: deque[str] = deque()
        self._size = 0
        self._dropped = 0
        self._is_open = True
        self._changed = threading.Condition()
        # A daemon: a process whose log nobody reads can still end.
        self._thread = threading.Thread(target=self._write_for_ever, name="log writer", daemon=True)
        self._thread.start()

    def write(self, text: str) -> None:
        with self._changed:
            if self._size + len(text) > self._most:
                self._dropped += 1
                return
            self._texts.append(text)
            self._size += len(text)
            self._changed.notify()

    def flush(self) -> None:
        """Do nothing: the thread flushes."""

    def close(self) -> bool:
        """Write what waits, and end. Returns whether that was done in time."""
        with self._changed:
            self._is_open = False
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS)
        return not self._thread.is_alive()

    def _write_for_ever(self) -> None:
        while text := self._next():
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                # There is nowhere to say it.
                continue
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                log.warning("parts of the log were dropped: nobody read it", extra={"parts": dropped})

    def _next(self) -> str:
        """Wait for something to write; "" if there is nothing left and nothing will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._texts or not self._is_open)
            if not self._texts:
                return ""
            text = self._texts.popleft()
            self._size -= len(text)
            return text


class LogWriter:
    """Has the handlers of the root logger write aside, as long as the application runs."""

    def __init__(self) -> None:
        self._turned: list[tuple[logging.StreamHandler[TextIO], TextIO, Aside]] = []

    async def __aenter__(self) -> Self:
        for handler in logging.getLogger().handlers:
            if type(handler) is logging.StreamHandler:
                aside = Aside(handler.stream)
                self._turned.append((handler, handler.stream, aside))
                handler.setStream(aside)
        return self

    async def __aexit__(self, *_: object) -> None:
        for handler, stream, aside in self._turned:
            if aside.close():
                handler.setStream(stream)
