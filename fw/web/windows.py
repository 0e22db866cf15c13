"""Windows of time in which requests are counted without the database: by this process, or over all processes by Redis."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any, Final

from fw.config import Config, Rate

log = logging.getLogger("fw.web.limits")

MOST: Final = 100_000
"""How many windows are kept, some 35 MB; if there are more, the oldest are dropped."""
REDIS_SECONDS: Final = 0.5
CONNECTIONS: Final = 20
AWAY_SECONDS: Final = 5.0

# One round trip for all limits of a request; if any of them is reached, nothing is counted.
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


Standing = tuple[int, int, str]
"""How much is left of the limit that is nearest: how many requests, for how many seconds, and the limit's name."""


class Reached(Exception):
    """A limit is reached; has its name, and the seconds that its window still lasts."""

    def __init__(self, name: str, seconds: int) -> None:
        super().__init__(name, seconds)
        self.name, self.seconds = name, seconds


Window = list[Any]
"""The count, and when the window ends."""
Subject = tuple[str, str]
"""The name of a limit, and the address or account that it is counted for."""
Rates = Mapping[str, Rate]
"""What is allowed, by the names of limits; a limit without a rate is off."""


class OwnWindows:
    """Windows of this process. A window begins with the first request that is counted in it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # In the order in which they began: a window that begins anew goes to the end.
        self._windows: dict[Subject, Window] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def take(self, subjects: Sequence[Subject], rates: Rates) -> Standing | None:
        """Count one for each subject. Returns how much is left of the nearest limit; None if nothing is limited.

        If any limit is reached it counts nothing and raises `Reached`.
        """
        now, found, nearest, least = self._clock(), [], None, 0
        for subject in subjects:
            rate = rates.get(subject[0])
            if rate is None:
                continue
            window = self._windows.get(subject)
            if window is None or window[1] <= now:
                window = self._begin(subject, now + rate[1], now)
            left = rate[0] - window[0]
            if left <= 0:
                raise Reached(subject[0], ceil(window[1] - now))
            found.append(window)
            if nearest is None or left < least:
                nearest, least = (subject[0], window[1]), left
        for window in found:
            window[0] += 1
        return None if nearest is None else (least - 1, ceil(nearest[1] - now), nearest[0])

    def _begin(self, subject: Subject, end: float, now: float) -> Window:
        self._windows.pop(subject, None)
        window = self._windows[subject] = [0, end]
        if len(self._windows) > MOST:
            self._forget(now)
        return window

    def _forget(self, now: float) -> None:
        """Drop the windows that have ended or, if those are few, the oldest quarter."""
        lasting = {key: window for key, window in self._windows.items() if window[1] > now}
        if len(lasting) > MOST * 3 // 4:
            lasting = dict(list(lasting.items())[-MOST * 3 // 4 :])
        self._windows = lasting


class RedisWindows:
    """Windows of all processes together, in Redis; while Redis does not answer, each process counts for itself."""

    def __init__(self, config: Config) -> None:
        # Imported here: only the extra `redis` installs it.
        from redis.asyncio import BlockingConnectionPool, Redis

        self._own = OwnWindows()
        self._away_until = 0.0
        # A burst waits for a connection: a pool that refused would look like a Redis that does not answer.
        pool = BlockingConnectionPool.from_url(
            config.redis_url,
            max_connections=CONNECTIONS,
            timeout=REDIS_SECONDS,
            protocol=2,
            socket_connect_timeout=REDIS_SECONDS,
        )
        self._client: Any = Redis.from_pool(pool)
        self._script = self._client.register_script(TAKE)

    async def take(self, subjects: Sequence[Subject], rates: Rates) -> Standing | None:
        """Count as `OwnWindows.take` does, over all processes."""
        limited = [subject for subject in subjects if subject[0] in rates]
        if not limited:
            return None
        if time.monotonic() < self._away_until:
            return self._own.take(limited, rates)
        numbers = [number for name, _ in limited for number in (rates[name][0], rates[name][1] * 1000)]
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                answer = await self._script(keys=[f"fw:limit:{hashed(*subject)}" for subject in limited], args=numbers)
            return standing_of(answer, limited, rates)
        except Reached:
            raise
        # Any error of the driver, or an answer of something else: feedback is not refused because a counter is missing.
        except Exception as error:  # noqa: BLE001
            log.warning("redis: limits are counted by each process", extra={"reason": type(error).__name__})
            self._away_until = time.monotonic() + AWAY_SECONDS
            return self._own.take(limited, rates)

    async def close(self) -> None:
        await self._client.aclose()


def standing_of(answer: Sequence[int], limited: Sequence[Subject], rates: Rates) -> Standing:
    """Return what an answer means. Raises `Reached`; `ValueError`, `TypeError`, `IndexError` if it is not the script's."""
    refused, *found = answer
    if refused:
        name, left = limited[refused - 1][0], found[0]
        counts = [(name, rates[name][0], left)]
    else:
        pairs = zip(limited, found[::2], found[1::2], strict=True)
        counts = [(name, count, left) for (name, _), count, left in pairs]
    if any(left > rates[name][1] * 1000 or count < 0 for name, count, left in counts):
        raise ValueError("out of range")
    if refused:
        raise Reached(name, seconds_of(left))
    return min((rates[name][0] - count, seconds_of(left), name) for name, count, left in counts)


def hashed(name: str, subject: str) -> str:
    """Return the key of a window, without the account or address in it."""
    return f"{name}:{hashlib.sha256(subject.encode('utf-8', 'replace')).hexdigest()[:32]}"


def seconds_of(milliseconds: int) -> int:
    return max(1, ceil(milliseconds / 1000))
