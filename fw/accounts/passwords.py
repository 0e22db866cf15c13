"""Passwords: hashed by SHA-384 and then by bcrypt, in threads, so that the event loop does not wait."""

import asyncio
import base64
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar

import bcrypt
from aiohttp import web

from fw.config import COSTS, Config
from fw.database.rotation import Rotation
from fw.errors import Unavailable

T = TypeVar("T")

WAITING: Final = 100
"""How many hashes may wait; at cost 12 on two cores that takes some 12 seconds. More are refused with 503."""


class Verdict(NamedTuple):
    """Whether a password matches its hash, and a new hash if the old one was made at another cost than the configured one."""

    matches: bool
    renewed: str | None = None


class Passwords:
    """Hashes and verifies in as many threads as there are cores: bcrypt releases the global interpreter lock."""

    def __init__(self, config: Config) -> None:
        self._cost = config.bcrypt_cost
        self._threads = os.cpu_count() or 1
        self._executor: ThreadPoolExecutor | None = None
        self._under_way = 0
        # The executor's own line would be first come, first served: whoever is signed in would wait for all who try passwords.
        self._turns = Rotation(self._threads)

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
        return await self._in_thread(lambda: self._hash(password))

    async def matches(self, password: str, hashed_password: str) -> bool:
        """Tell whether a password is the one that was hashed. Raises `Unavailable` if too many hashes wait."""
        return await self._in_thread(lambda: check(password, hashed_password))

    async def verify(self, password: str, hashed_password: str | None, highest_cost: int | None) -> Verdict:
        """Check the password of a login; the hash is None if there is no such account.

        A failure takes as long as one hash of the highest cost that is stored (None if there is no account at all), whether
        the account exists or not: the time tells nothing. Raises `Unavailable` if too many hashes wait.
        """
        highest = self._cost if highest_cost is None or highest_cost > COSTS[1] else highest_cost
        return await self._in_thread(lambda: self._verify(password, hashed_password or unmatchable_hash(highest), highest))

    def _hash(self, password: str) -> str:
        return bcrypt.hashpw(digest(password), bcrypt.gensalt(self._cost)).decode()

    def _verify(self, password: str, hashed_password: str, highest: int) -> Verdict:
        cost = cost_of(hashed_password)
        if check(password, hashed_password):
            return Verdict(True, None if cost == self._cost else self._hash(password))
        # 2^c rounds are done; 2^c + 2^(c+1) + ... + 2^(m-1) more make 2^m, as many as one hash of the highest cost m.
        for missing in range(cost, highest):
            check(password, unmatchable_hash(missing))
        return Verdict(False)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._under_way >= self._threads + WAITING or self._executor is None:
            raise Unavailable("Too many logins at once; try again in a few seconds.", retry_after=5)
        self._under_way += 1
        try:
            await self._turns.take()
            try:
                return await asyncio.get_running_loop().run_in_executor(self._executor, work)
            finally:
                self._turns.give_back()
        finally:
            self._under_way -= 1


PASSWORDS: Final[web.AppKey[Passwords]] = web.AppKey("passwords")


def check(password: str, hashed_password: str) -> bool:
    if cost_of(hashed_password) > COSTS[1]:
        # Not made here: one of cost 31 would take days.
        return False
    return bcrypt.checkpw(digest(password), hashed_password.encode())


def cost_of(hashed_password: str) -> int:
    """Return the cost of a hash, 12 for `$2b$12$...`: it was made in 2^12 rounds."""
    return int(hashed_password.split("$")[2])


def unmatchable_hash(cost: int) -> str:
    """Return a hash that no password matches, and that takes as long to check as a real one."""
    return f"$2b${cost:02d}${'.' * 53}"


def digest(password: str) -> bytes:
    """Return 64 bytes for any password: bcrypt refuses more than 72, and stops at a NUL (OWASP Password Storage, pre-hash)."""
    return base64.b64encode(hashlib.sha384(password.encode()).digest())


@cache
def common_passwords() -> frozenset[str]:
    """Return the most common passwords, in lower case; the file names its sources."""
    lines = (Path(__file__).parent / "common_passwords.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))
