"""Starts the embedded PostgreSQL again if it was killed: nobody else looks after it."""

import asyncio
import logging
from pathlib import Path
from typing import Final, Self

from fw.background import Background
from fw.config import ConfigError
from fw.database import embedded

log = logging.getLogger("fw.database.embedded")

EVERY_SECONDS: Final = 1.0


class Caretaker:
    """Looks every second, in every process; whichever is first starts the server, and the others find that it runs."""

    def __init__(self, data_dir: Path, background: Background) -> None:
        self._data_dir = data_dir
        self._task = background.every("embedded database", lambda: EVERY_SECONDS, self._look)

    async def __aenter__(self) -> Self:
        await self._task.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._task.__aexit__()

    async def _look(self) -> None:
        if not embedded.is_gone(self._data_dir):
            return
        log.error("the embedded PostgreSQL has ended; starting it again")
        try:
            await asyncio.to_thread(embedded.start_again, self._data_dir)
        except ConfigError as error:
            log.error("the embedded PostgreSQL does not start", extra={"reason": str(error)})  # noqa: TRY400
