"""How much of what was sent a client has received, as far as this machine can know."""

import asyncio
import fcntl
import struct
import sys
import termios
from typing import Final

SIZE: Final = struct.Struct("i")


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
