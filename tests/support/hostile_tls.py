"""Receivers that answer a ClientHello with what takes OpenSSL long to look at."""

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CERTIFICATE: Final = base64.b64decode(
    "MIICdjCCAmKgAwIBAgIBATAKBggqhkjOPQQDAjAAMB4XDTI1MDEwMTAwMDAwMFoXDTQ5MDEwMTAwMDAwMFowADCCAiYwggHLBgcqhkjOPQIBMI"
    "IBvgIBATBeBgcqhkjOPQEBAlMaHbUFwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAATCBqgRTFMkUBoOeuQW25uMH1L7cUUMRk+bD8zkaK48f8f1CopdV1ME6kCkxzUR+Nbi22P5ELj1DcgTlLbIiGl"
    "gAigWmxGRxWcMkyYWbgQ52bsnShmPKgo0EUwdjQlh/0oA7q2w5jYg0in7tjRTwbT/vcBlmoMOB6I84wMj9hxK4vAdvN4e50XngbA/U9fgTDEI3"
    "cw7fr71n+WGWmc/hmIrZ8GwUSgJbQT+KmgIeBFQCFoIbTvvI1gsh+6x4JV1oB5I5hruWikN9XI38XtqS2GSsXbnXBxB+hVw4RCnoIaTHSAPjG6"
    "FiFYIoPRWp7AgGcF/KFhYivXlf7ImPvPuwUKyrGmsCUxodtQW/////////////////////////////////////////////////////////////"
    "////////////////////////////////////////////AgEBA1UAAg/+XIENLjBLy2siY9sB/Kp8MUvwHb8pGruLo34Ksu0xscJ+l2aZzG7V0b"
    "/lhVUvrJVKtZLJNX00rM14GVm571jQdnQzTec9YMKQ0AmUlA6CRYzIMAoGCCqGSM49BAMCAwIAAA=="
)
"""A certificate whose key is a compressed point of a curve that it brings along. The curve is over the prime k * 2**630 + 1, so
that the root that OpenSSL has to take, before it asks who vouches for the certificate, takes a third of a second.
"""


def message(kind: int, content: bytes) -> bytes:
    """Return a message of the handshake (RFC 5246, 7.4)."""
    return bytes([kind]) + len(content).to_bytes(3, "big") + content


def records(content: bytes) -> bytes:
    """Return messages of the handshake as records (RFC 5246, 6.2.1)."""
    parts = [content[place : place + 16384] for place in range(0, len(content), 16384)]
    return b"".join(b"\x16\x03\x03" + len(part).to_bytes(2, "big") + part for part in parts)


def with_certificates(count: int, together: int = 1) -> Talk:
    """Answer as a server of TLS 1.2 with so many of these certificates, and so many clients at the same moment."""
    are_there = asyncio.Barrier(together)
    chain = (len(CERTIFICATE).to_bytes(3, "big") + CERTIFICATE) * count
    hello = b"\x03\x03" + os.urandom(32) + b"\0" + b"\xc0\x2f" + b"\0" + b"\0\x05\xff\x01\0\x01\0"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        await are_there.wait()
        writer.write(records(message(2, hello)) + records(message(11, len(chain).to_bytes(3, "big") + chain)))
        with suppress(ConnectionError):
            await writer.drain()
            await reader.read()

    return talk


HELLO_REQUESTS: Final = records(message(0, b"") * 4096) * 16
"""Records full of HelloRequest, of which a client skips any number (RFC 5246, 7.4.1.1)."""
