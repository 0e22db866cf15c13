"""How much of what was sent a client has received, as far as this machine can know."""

import asyncio
import fcntl
import struct
import sys
import termios
from typing import Final

from aiohttp import web

SIZE: Final = struct.Struct("i")
LEAST_BYTES_A_SECOND: Final = 256
"""The slowest that a client may take a response, on average over that time: a slower one only keeps others out."""


def not_taken(transport: asyncio.Transport) -> int:
    """Return how many bytes the client has not acknowledged: those that wait in this process and, on Linux, in the kernel.

    The kernel takes bytes from this process only in large steps: without its part, a slow client would look like a dead one.
    """
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None or (transport.is_closing() and not waiting):
        return waiting
    try:
        (unacknowledged,) = SIZE.unpack(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(SIZE.size)))
    except OSError:
        return waiting
    return waiting + int(unacknowledged)


class Progress:
    """How fast the client of a connection takes the response that waits for it, from look to look."""

    __slots__ = ("_request", "_since", "_taken", "_taken_before", "lately")

    def __init__(self, now: float) -> None:
        self._since = now
        self._request: web.BaseRequest | None = None
        self._taken = self._taken_before = 0
        self.lately = 0
        """How much it has taken between the last two looks."""

    def is_stalled(self, transport: asyncio.Transport, request: web.BaseRequest | None, now: float, seconds: float) -> bool:
        """Look again. Tells whether it has taken too little for so long."""
        waiting = transport.get_write_buffer_size()
        taken = (request.writer.output_size if request else 0) - (waiting and not_taken(transport))
        is_stalled = False
        if not waiting or request is not self._request:
            self._since, self._request, self._taken_before = now, request, taken
            # So much at the first look: who is meant to be fast has taken something.
            self.lately = taken
        else:
            self.lately = taken - self._taken
            if now - self._since >= seconds:
                is_stalled = taken - self._taken_before < LEAST_BYTES_A_SECOND * seconds
                self._since, self._taken_before = now, taken
        self._taken = taken
        return is_stalled
