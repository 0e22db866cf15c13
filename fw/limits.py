"""Limits: on attempts to log in and register, in PostgreSQL; on submissions, where no database is asked."""

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Final, Self

from multidict import istr

from fw.config import Config, Rate
from fw.database import Database
from fw.errors import TooManyRequests
from fw.windows import Reached, make_windows

log = logging.getLogger("fw.limits")

POLICY: Final = istr("RateLimit-Policy")
LIMIT: Final = istr("RateLimit")
REMEMBERED: Final = 10_000
"""Widgets whose inbox is known."""


class Limits:
    """Counts in windows that begin with the first; what is over any of its limits is refused."""

    def __init__(self, config: Config, database: Database) -> None:
        self._rates: Mapping[str, Rate] = config.rate_limits
        self._policies = {name: f'"{name}";q={count};w={seconds}' for name, (count, seconds) in self._rates.items()}
        self._database = database
        self._windows = make_windows(config)
        self._inboxes: dict[str, str] = {}
        self.refused = dict.fromkeys(config.rate_limits, 0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._windows.close()

    async def count(self, **subjects: str) -> None:
        """Count an attempt against each named limit (`_` for `-`), by its subject. Raises `TooManyRequests`.

        Subjects are kept hashed: they name accounts and addresses. Attempts count over all processes and restarts.
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
                raise self._refusal(name, max(1, math.ceil(row["seconds_left"])))

    async def take(self, subjects: Mapping[str, str]) -> dict[str, str]:
        """Count once against each named limit, by its subject; return the headers that tell how its sender stands.

        No connection is needed for it. Raises `TooManyRequests`, and counts nothing, where any limit is reached.
        """
        rates = self._rates
        names = [name for name in subjects if name in rates]
        if not names:
            return {}
        try:
            standings = await self._windows.take([(f"{name} {subjects[name]}", rates[name]) for name in names])
        except Reached as reached:
            raise self._refusal(names[reached.place], reached.seconds) from None
        (left, seconds), name = min(zip(standings, names, strict=True))
        return {POLICY: self._policy(names), LIMIT: f'"{name}";r={left};t={seconds}'}

    def inbox_of(self, widget_id: str) -> str | None:
        """Return the inbox of a widget that has been heard of; a name of it that is out of date does no harm."""
        return self._inboxes.get(widget_id)

    def learn(self, widget_id: str, inbox: str) -> None:
        """Remember whose a widget is, so that the next submission is refused without a look."""
        if len(self._inboxes) >= REMEMBERED:
            self._inboxes.clear()
        self._inboxes[widget_id] = inbox

    def _refusal(self, name: str, seconds: int) -> TooManyRequests:
        """Say when to come back, in the fields of the IETF draft "RateLimit header fields for HTTP"."""
        self.refused[name] += 1
        log.info("limit reached", extra={"limit": name})
        headers = {POLICY: self._policy([name]), LIMIT: f'"{name}";r=0;t={seconds}', "Retry-After": str(seconds)}
        return TooManyRequests(headers=headers)

    def _policy(self, names: Sequence[str]) -> str:
        return ", ".join(self._policies[name] for name in names)


def key(name: str, subject: str) -> str:
    return f"{name}:{hashlib.sha256(subject.encode('utf-8', 'replace')).hexdigest()[:32]}"
