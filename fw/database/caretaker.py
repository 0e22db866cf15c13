"""Starts the embedded PostgreSQL again if it was killed: nobody else looks after it."""

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Final

from fw.background import Background, Task
from fw.config import ConfigError
from fw.database import embedded

log = logging.getLogger("fw.database.embedded")

EVERY_SECONDS: Final = 1.0


def caretaker(data_dir: Path, background: Background) -> Task:
    """Return a task that looks every second. Of several processes the first starts the server; the others find it running."""
    return background.every("embedded database", lambda: EVERY_SECONDS, partial(look, data_dir))


async def look(data_dir: Path) -> None:
    """Start the server of a data directory if it was killed."""
    if not embedded.is_gone(data_dir):
        return
    log.error("the embedded PostgreSQL has ended; starting it again")
    try:
        await asyncio.to_thread(embedded.start_again, data_dir)
    except ConfigError as error:
        log.error("the embedded PostgreSQL does not start", extra={"reason": str(error)})  # noqa: TRY400
