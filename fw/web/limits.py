"""Limits: on attempts to log in and register, counted in PostgreSQL; on submissions and widget events, without the database."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Final, Self

from aiohttp import web
from multidict import istr

from fw.config import Config, Rate
from fw.database.pool import Database
from fw.errors import TooManyRequests
from fw.web.address import wide_network
from fw.web.windows import OwnWindows, Reached, RedisWindows, hashed

log = logging.getLogger("fw.web.limits")

BY_NETWORK: Final = ("login", "registration", "forgot")
"""The limits that count IPv6 networks of /48 too: one customer may have that, which are 65,536 of /64."""
NETWORKS: Final = 10
"""How many times as much such a network may do as one of /64."""
POLICY: Final = istr("RateLimit-Policy")
LIMIT: Final = istr("RateLimit")


class Limits:
    """Counts in windows of time, each of which begins with the first request in it. Over a limit, requests are refused."""

    def __init__(self, config: Config, database: Database) -> None:
        self._rates: Mapping[str, Rate] = config.rate_limits
        self._database = database
        self._own = OwnWindows()
        self._shared = RedisWindows(config) if config.redis_url else None
        self.refused = dict.fromkeys(config.rate_limits, 0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._shared:
            await self._shared.close()

    async def count(self, **subjects: str) -> None:
        """Count an attempt against each named limit (`_` for `-`), by its subject, over all processes and restarts.

        Subjects are stored hashed, since they name accounts and addresses. Raises `TooManyRequests`.
        """
        limits = [(name.replace("_", "-"), subject) for name, subject in subjects.items()]
        limits = [(name, subject) for name, subject in limits if name in self._rates]
        await self._count(limits)
        # Not together: what a network of /64 is refused must not count against its neighbours.
        networks = [(name, wide_network(subject)) for name, subject in limits if name in BY_NETWORK]
        await self._count([(name, network) for name, network in networks if network], NETWORKS)

    async def _count(self, limits: Sequence[tuple[str, str]], times: int = 1) -> None:
        if not limits:
            return
        names = [name for name, _ in limits]
        found = await self._database.changes(
            "limits.count", [hashed(name, subject) for name, subject in limits], [self._rates[name][1] for name in names]
        )
        for row in found:
            name = names[row["place"] - 1]
            if row["attempts"] > self._rates[name][0] * times:
                raise self._refusal(name, max(1, math.ceil(row["seconds_left"])))

    async def take(self, *subjects: tuple[str, str]) -> dict[str, str]:
        """Count a request against limits, each given by its name and subject, without the database.

        Returns the headers that tell how much is left, once half of what is allowed is used up. If any limit is reached it
        counts nothing and raises `TooManyRequests`.
        """
        try:
            if self._shared:
                standing = await self._shared.take(subjects, self._rates)
            else:
                standing = self._own.take(subjects, self._rates)
        except Reached as reached:
            raise self._refusal(reached.name, reached.seconds) from None
        if standing is None or standing[0] > self._rates[standing[2]][0] // 2:
            return {}
        left, seconds, name = standing
        return self._headers(name, left, seconds)

    def _refusal(self, name: str, seconds: int) -> TooManyRequests:
        self.refused[name] += 1
        log.info("limit reached", extra={"limit": name})
        return TooManyRequests(headers={**self._headers(name, 0, seconds), "Retry-After": str(seconds)})

    def _headers(self, name: str, left: int, seconds: int) -> dict[str, str]:
        """Return how much is left in the fields of the IETF draft "RateLimit header fields for HTTP"."""
        count, window = self._rates[name]
        return {POLICY: f'"{name}";q={count};w={window}', LIMIT: f'"{name}";r={left};t={seconds}'}


def too_many_at_once(name: str, most: int, seconds: int, detail: str) -> TooManyRequests:
    """Return the refusal of what would be more than so many at the same time; it may be tried again after so many seconds."""
    return TooManyRequests(
        detail, headers={"Retry-After": str(seconds), POLICY: f'"{name}";q={most}', LIMIT: f'"{name}";r=0;t={seconds}'}
    )


LIMITS: Final[web.AppKey[Limits]] = web.AppKey("limits")
