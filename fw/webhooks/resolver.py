"""Finds out where a name leads, once, and lets connections be made to nothing else: what is checked is what is connected to."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from fw.webhooks.addresses import is_public

RESOLVE_SECONDS: Final = 5.0
LOOKUPS_AT_ONCE: Final = 100
"""How many look-ups may be under way, those included that were given up: the system's call cannot be ended."""

SILENT_SECONDS: Final = 60.0
"""For how long a name is not asked for again that was not answered for in time."""
SILENT_NAMES: Final = 1000
ADDRESSES: Final = 20
"""How many addresses of a name are looked at: an answer has room for thousands."""

AddressInfo = tuple[int, int, int, str, tuple[Any, ...]]
"""What `getaddrinfo` tells of an address: family, type, protocol, canonical name, and the address with its port."""


class NotPublic(OSError):
    """The address is not one that anybody can reach."""


class NotResolved(OSError):
    """The name was not resolved in time."""


class Resolver(AbstractResolver):
    """Looks names up, and refuses a name if any of its addresses is not public."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._room = asyncio.Semaphore(LOOKUPS_AT_ONCE)
        # Until when names are not asked for, the oldest first: each would take a place for as long as the system waits.
        self._silent: dict[str, float] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Return the addresses of a name. Raises `NotPublic`, `NotResolved`, `OSError`."""
        clock = asyncio.get_running_loop().time
        if clock() < self._silent.get(host, 0.0):
            raise NotResolved(host)
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                await self._room.acquire()
        except TimeoutError:
            raise NotResolved(host) from None
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self._look_up(host, port, family)
        except TimeoutError:
            self._note_silent(host, clock() + SILENT_SECONDS)
            raise NotResolved(host) from None
        found = found[:ADDRESSES]
        addresses = [str(info[4][0]) for info in found]
        if not self._allow_private and not all(map(is_public, addresses)):
            raise NotPublic(host)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=info[0], proto=info[2], flags=socket.AI_NUMERICHOST)
            for address, info in zip(addresses, found, strict=True)
        ]

    def _note_silent(self, host: str, until: float) -> None:
        self._silent.pop(host, None)
        self._silent[host] = until
        if len(self._silent) > SILENT_NAMES:
            del self._silent[next(iter(self._silent))]

    def _look_up(self, host: str, port: int, family: int) -> asyncio.Future[Sequence[AddressInfo]]:
        """Ask the system, in a thread of its own: in a pool, names whose servers are silent would delay all others.

        The thread does not keep the process from ending.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[AddressInfo]] = loop.create_future()

        def tell(found: Sequence[AddressInfo], error: Exception | None) -> None:
            self._room.release()
            if answer.done():
                return
            if error:
                answer.set_exception(error)
            else:
                answer.set_result(found)

        def ask() -> None:
            found: Sequence[AddressInfo] = ()
            failed: Exception | None = None
            try:
                found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            except (OSError, UnicodeError) as error:
                failed = error
            # After the end of the loop nobody waits for the answer.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, found, failed)

        threading.Thread(target=ask, name="webhook name", daemon=True).start()
        return answer

    async def close(self) -> None:
        """Close nothing: each thread ends with its look-up."""
