"""Passwords: bcrypt over a hash of all their characters, never on the event loop."""

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final, Self, TypeVar

import bcrypt

from fw.config import Config
from fw.errors import Unavailable

T = TypeVar("T")

WAITING: Final = 100
"""Hashes that may wait; at cost 12 on two cores that is some 12 seconds. More are refused with 503."""


class Passwords:
    """Hashes and verifies in as many threads as there are cores: bcrypt releases the interpreter's lock."""

    def __init__(self, config: Config) -> None:
        self._cost = config.bcrypt_cost
        self._threads = os.cpu_count() or 1
        self._executor: ThreadPoolExecutor | None = None
        self._under_way = 0
        # A hash that nothing matches, as costly as a real one: an unknown user takes the time of a wrong password.
        self._nobody = f"$2b${self._cost:02d}${'.' * 53}".encode()

    @property
    def waiting(self) -> int:
        """How many hashes wait for a thread."""
        return max(0, self._under_way - self._threads)

    async def __aenter__(self) -> Self:
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="bcrypt")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._executor:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Hash a new password. Raises `Unavailable` if too many hashes wait."""
        return await self._in_thread(lambda: bcrypt.hashpw(digest(password), bcrypt.gensalt(self._cost)).decode())

    async def matches(self, password: str, hashed_password: str | None) -> bool:
        """Tell whether a password is the one that was hashed; None (nobody) takes the same time and is False."""
        hashed = hashed_password.encode() if hashed_password else self._nobody
        same = await self._in_thread(lambda: bcrypt.checkpw(digest(password), hashed))
        return same and hashed_password is not None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._under_way >= self._threads + WAITING or self._executor is None:
            raise Unavailable("Too many logins at once; try again in a few seconds.", retry_after=5)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        finally:
            self._under_way -= 1


def digest(password: str) -> bytes:
    """Make 64 bytes of any password: bcrypt refuses more than 72, and stops at a NUL (OWASP Password Storage, pre-hash)."""
    return base64.b64encode(hashlib.sha384(password.encode()).digest())


@cache
def common_passwords() -> frozenset[str]:
    """Return the most common passwords, in lower case; the file tells its sources."""
    lines = (Path(__file__).parent / "common_passwords.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
