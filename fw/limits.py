"""Limits on attempts, counted in PostgreSQL so that they hold over all processes and restarts."""

import hashlib
import logging
import math
from collections.abc import Mapping

from fw.config import Config, Rate
from fw.database import Database
from fw.errors import TooManyRequests

log = logging.getLogger("fw.limits")


class Limits:
    """Counts attempts in windows that begin with the first; an attempt over any of its limits is refused."""

    def __init__(self, config: Config, database: Database) -> None:
        self._rates: Mapping[str, Rate] = config.rate_limits
        self._database = database

    async def count(self, **subjects: str) -> None:
        """Count an attempt against each named limit (`_` for `-`), by its subject. Raises `TooManyRequests`.

        Subjects are kept hashed: they name accounts and addresses.
        """
        limits = [(name.replace("_", "-"), subject) for name, subject in subjects.items()]
        limits = [(name, subject) for name, subject in limits if name in self._rates]
        if not limits:
            return
        names = [name for name, _ in limits]
        found = await self._database.changes(
            "limits.count", [key(name, subject) for name, subject in limits], [self._rates[name][1] for name in names]
        )
        for row in found:
            name = names[row["place"] - 1]
            if row["attempts"] > self._rates[name][0]:
                raise refusal(name, self._rates[name], max(1, math.ceil(row["seconds_left"])))


def key(name: str, subject: str) -> str:
    return f"{name}:{hashlib.sha256(subject.encode('utf-8', 'replace')).hexdigest()[:32]}"


def refusal(name: str, rate: Rate, seconds_left: int) -> TooManyRequests:
    """Say when to come back, in the fields of the IETF draft "RateLimit header fields for HTTP"."""
    log.info("limit reached: %s", name)
    return TooManyRequests(
        headers={
            "Retry-After": str(seconds_left),
            "RateLimit-Policy": f'"{name}";q={rate[0]};w={rate[1]}',
            "RateLimit": f'"{name}";r=0;t={seconds_left}',
        }
    )
