"""Counters of widget events: added up in memory, and written about once a second and at the end."""

import asyncio
import logging
from collections import defaultdict
from datetime import UTC, datetime
from typing import Final, Literal, Self

from aiohttp import web

from fw.background import Background
from fw.database.pool import Database
from fw.errors import Problem

log = logging.getLogger("fw.widgets.counters")

Event = Literal["view", "open"]

FLUSH_SECONDS: Final = 0.8
QUARTER_SECONDS: Final = 900


class Counters:
    """Counts views and opens by widget and quarter of an hour. A killed process loses about a second, a stopped one nothing."""

    def __init__(self, database: Database, background: Background) -> None:
        self._database = database
        self._counts: defaultdict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
        self._lock = asyncio.Lock()
        self._task = background.every("widget events", lambda: FLUSH_SECONDS, self._flush_or_wait)

    async def __aenter__(self) -> Self:
        await self._task.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        # Under the lock no write is under way: a cancelled one may or may not have been committed.
        async with self._lock:
            await self._task.__aexit__()
        try:
            await self.flush()
        except Problem:
            log.warning("widget events lost, the database is away", extra={"counters": len(self._counts)})

    def count(self, widget_id: str, event: Event) -> None:
        """Count one event."""
        quarter = int(datetime.now(UTC).timestamp()) // QUARTER_SECONDS
        self._counts[widget_id, quarter][0 if event == "view" else 1] += 1

    async def flush(self) -> None:
        """Write what has been counted. If that fails it is kept for the next time, and the `Problem` raised."""
        async with self._lock:
            if not self._counts:
                return
            counts, self._counts = self._counts, defaultdict(lambda: [0, 0])
            try:
                await self._database.changes(
                    "widgets.count_events",
                    [widget_id for widget_id, _ in counts],
                    [datetime.fromtimestamp(quarter * QUARTER_SECONDS, UTC) for _, quarter in counts],
                    [views for views, _ in counts.values()],
                    [opens for _, opens in counts.values()],
                )
            except Problem:
                for key, (views, opens) in counts.items():
                    self._counts[key][0] += views
                    self._counts[key][1] += opens
                raise

    async def _flush_or_wait(self) -> None:
        try:
            await self.flush()
        except Problem:
            log.warning("widget events wait for the database", extra={"counters": len(self._counts)})


COUNTERS: Final[web.AppKey[Counters]] = web.AppKey("counters")
