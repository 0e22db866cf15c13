"""How much of what was sent a client has taken, as far as this machine can know."""

import asyncio
import fcntl
import struct
import sys
import termios
from typing import Final

SIZE: Final = struct.Struct("i")


def not_taken(transport: asyncio.Transport) -> int:
    """Return the bytes that the client has not acknowledged: what waits in this process and, on Linux, in the kernel.

    The kernel takes more only in large steps: who looked at this process alone would take a slow client for one that is gone.
    """
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sys.platform != "linux" or sock is None or transport.is_closing():
        return waiting
    try:
        (unacknowledged,) = SIZE.unpack(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(SIZE.size)))
    except OSError:
        return waiting
    return waiting + int(unacknowledged)
