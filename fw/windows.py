"""Windows in which things are counted where no database is asked: in this process, or by Redis in all of them."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, Final

from fw.config import Config, Rate

log = logging.getLogger("fw.limits")

MOST: Final = 100_000
"""Windows that are kept, some 35 MB of them; beyond that the oldest are forgotten."""
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


Standing = tuple[int, int, int]
"""Where a sender stands at the limit that is nearest: how many are left, for how many seconds, and its place."""


class Reached(Exception):
    """A limit is reached: the place of its subject, and the seconds that its window still lasts."""

    def __init__(self, place: int, seconds: int) -> None:
        super().__init__(place, seconds)
        self.place, self.seconds = place, seconds


Window = list[Any]
"""What is counted, and when it ends."""
Subject = tuple[str, str, Rate]
"""A limit by its name, who it is counted for, and its rate."""


class OwnWindows:
    """Windows of this process. A window begins with the first that is counted in it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # In the order of their beginning: a window that begins anew goes to the end.
        self._windows: dict[tuple[str, str], Window] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, subjects: Sequence[Subject]) -> Standing:
        """Count one for each subject; of these there is at least one.

        Raises `Reached`, and counts nothing, where any is at its limit.
        """
        now, windows, least = self._clock(), [], None
        for place, (name, subject, (most, seconds)) in enumerate(subjects):
            window = self._windows.get((name, subject))
            if window is None or window[1] <= now:
                window = self._begin((name, subject), now, seconds)
            left = most - window[0]
            if left <= 0:
                raise Reached(place, ceil(window[1] - now))
            windows.append(window)
            if least is None or left < least[0]:
                least = left, window[1], place
        for window in windows:
            window[0] += 1
        assert least
        return least[0] - 1, ceil(least[1] - now), least[2]

    def _begin(self, key: tuple[str, str], now: float, seconds: int) -> Window:
        self._windows.pop(key, None)
        window = self._windows[key] = [0, now + seconds]
        if len(self._windows) > MOST:
            self._forget(now)
        return window

    def _forget(self, now: float) -> None:
        """Forget what is over or, where that is little, the oldest quarter."""
        lasting = {key: window for key, window in self._windows.items() if window[1] > now}
        if len(lasting) > MOST * 3 // 4:
            lasting = dict(list(lasting.items())[-MOST * 3 // 4 :])
        self._windows = lasting


class RedisWindows:
    """Windows of all processes together, in Redis; while that is away each process counts for itself."""

    def __init__(self, config: Config) -> None:
        # The extra `redis`: nobody else pays for the import.
        from redis.asyncio import Redis

        self._own = OwnWindows()
        self._away_until = 0.0
        self._client: Any = Redis.from_url(config.redis_url, protocol=2, socket_connect_timeout=REDIS_SECONDS)
        self._script = self._client.register_script(TAKE)

    async def take(self, subjects: Sequence[Subject]) -> Standing:
        """Count as `OwnWindows.take` does, over all processes."""
        if time.monotonic() < self._away_until:
            return self._own.take(subjects)
        numbers = [number for _, _, (most, seconds) in subjects for number in (most, seconds * 1000)]
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                refused, *found = await self._script(keys=[hashed(*subject) for subject in subjects], args=numbers)
        # Whatever the driver says: feedback is not refused for want of a counter.
        except Exception as error:  # noqa: BLE001
            log.warning("redis: limits are counted by each process", extra={"reason": type(error).__name__})
            self._away_until = time.monotonic() + AWAY_SECONDS
            return self._own.take(subjects)
        if refused:
            raise Reached(refused - 1, seconds_of(found[0]))
        counts = enumerate(zip(subjects, found[::2], found[1::2], strict=True))
        return min((rate[0] - count, seconds_of(left), place) for place, ((_, _, rate), count, left) in counts)

    async def close(self) -> None:
        await self._client.aclose()


def hashed(name: str, subject: str, rate: Rate) -> str:
    """Name a window without the address in it."""
    return f"fw:limit:{name}:{hashlib.sha256(subject.encode('utf-8', 'replace')).hexdigest()[:32]}"


def seconds_of(milliseconds: int) -> int:
    return max(1, ceil(milliseconds / 1000))
