"""Windows in which things are counted where no database is asked: in this process, or by Redis in all of them."""

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from fw.config import Config, Rate

log = logging.getLogger("fw.limits")

MOST: Final = 200_000
"""Windows that are kept, some 40 MB of them; beyond that the oldest are forgotten."""
REDIS_SECONDS: Final = 0.5
AWAY_SECONDS: Final = 5.0

# One round trip for all limits of a request: nothing is counted where any of them is reached.
TAKE: Final = """
local found = {}
for n, key in ipairs(KEYS) do
  local count, left = tonumber(redis.call('GET', key) or 0), redis.call('PTTL', key)
  if left < 0 then left = tonumber(ARGV[2 * n]) end
  if count >= tonumber(ARGV[2 * n - 1]) then return {n, left} end
  found[#found + 1] = count + 1
  found[#found + 1] = left
end
for n, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, ARGV[2 * n]) end
end
return {0, unpack(found)}
"""


class Standing(NamedTuple):
    """Where a subject stands at its limit: how many are left in its window, and the seconds that it still lasts."""

    left: int
    seconds: int


class Reached(Exception):
    """A limit is reached: the place of its subject, and the seconds that its window still lasts."""

    def __init__(self, place: int, seconds: int) -> None:
        super().__init__(place, seconds)
        self.place, self.seconds = place, seconds


class Windows(Protocol):
    """Counts. A window begins with the first that is counted in it."""

    async def take(self, subjects: Sequence[tuple[str, Rate]]) -> list[Standing]:
        """Count one for each subject, by its key and rate. Raises `Reached`, and counts nothing, where any is at its limit."""

    async def close(self) -> None: ...


class OwnWindows:
    """Windows of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # In the order of their beginning: a window that begins anew goes to the end.
        self._windows: dict[str, list[float]] = {}

    def __len__(self) -> int:
        return len(self._windows)

    async def take(self, subjects: Sequence[tuple[str, Rate]]) -> list[Standing]:
        now, windows, found = self._clock(), self._windows, []
        for place, (key, (most, seconds)) in enumerate(subjects):
            window = windows.get(key)
            if window is None or window[1] <= now:
                if window is not None:
                    del windows[key]
                window = windows[key] = [0, now + seconds]
                if len(windows) > MOST:
                    self._forget(now)
            if window[0] >= most:
                raise Reached(place, math.ceil(window[1] - now))
            found.append(window)
        standings = []
        for window, (_, (most, _)) in zip(found, subjects, strict=True):
            window[0] += 1
            standings.append(Standing(most - int(window[0]), math.ceil(window[1] - now)))
        return standings

    def _forget(self, now: float) -> None:
        """Forget what is over or, where nothing is, the oldest quarter."""
        lasting = {key: window for key, window in self._windows.items() if window[1] > now}
        if len(lasting) > MOST * 3 // 4:
            lasting = dict(list(lasting.items())[-MOST * 3 // 4 :])
        self._windows = lasting

    async def close(self) -> None:
        """Close nothing."""


class RedisWindows:
    """Windows of all processes together, in Redis; while that is away each process counts for itself."""

    def __init__(self, config: Config) -> None:
        # The extra `redis`: nobody else pays for the import.
        from redis.asyncio import Redis

        self._own = OwnWindows()
        self._away_until = 0.0
        self._client: Any = Redis.from_url(config.redis_url, protocol=2, socket_connect_timeout=REDIS_SECONDS)
        self._script = self._client.register_script(TAKE)

    async def take(self, subjects: Sequence[tuple[str, Rate]]) -> list[Standing]:
        if time.monotonic() < self._away_until:
            return await self._own.take(subjects)
        numbers = [number for _, (most, seconds) in subjects for number in (most, seconds * 1000)]
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                refused, *found = await self._script(keys=[hashed(key) for key, _ in subjects], args=numbers)
        # Whatever the driver says: feedback is not refused for want of a counter.
        except Exception as error:  # noqa: BLE001
            log.warning("redis: limits are counted by each process: %s", type(error).__name__)
            self._away_until = time.monotonic() + AWAY_SECONDS
            return await self._own.take(subjects)
        if refused:
            raise Reached(refused - 1, seconds_of(found[0]))
        pairs = zip(found[::2], found[1::2], subjects, strict=True)
        return [Standing(most - count, seconds_of(left)) for count, left, (_, (most, _)) in pairs]

    async def close(self) -> None:
        await self._client.aclose()


def hashed(key: str) -> str:
    """Name a window without the address in it."""
    return f"fw:limit:{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:32]}"


def seconds_of(milliseconds: int) -> int:
    return max(1, math.ceil(milliseconds / 1000))


def make_windows(config: Config) -> Windows:
    """Choose by the configuration."""
    return RedisWindows(config) if config.redis_url else OwnWindows()
