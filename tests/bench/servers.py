"""The candidates as processes: one each, on loopback, started when they are needed and stopped by their pid."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.bench.cluster import SECRET
from tests.support.processes import Process, environment

STOP_SECONDS: Final = 20
MODULES: Final = {
    "fw": "fw",
    "bare": "tests.bench.peers.bare",
    "plain": "tests.bench.peers.plain",
    "fastapi-asyncpg": "tests.bench.peers.fastapi_asyncpg",
    "sqlalchemy": "tests.bench.peers.fastapi_sqlalchemy",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A candidate that answers."""

    name: str
    host: str
    port: int
    pid: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@asynccontextmanager
async def serve(name: str, database_url: str, folder: Path, **settings: str) -> AsyncIterator[Server]:
    """Run a candidate until the block ends."""
    settings = {
        "DATABASE_URL": database_url,
        "FW_JWT_SECRET": SECRET,
        "FW_RATE_LIMITS": "off",
        "FW_LOG_LEVEL": "WARNING",
        **settings,
    }
    log = folder / f"server-{len(list(folder.glob('server-*.log')))}.log"
    with log.open("wb") as output:
        started = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", MODULES[name], *(["serve"] if name == "fw" else [])),
            cwd=folder,
            env=environment(settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    process = Process(started, log)
    try:
        url = urlsplit(await process.url())
        yield Server(name, url.hostname or "", url.port or 0, started.pid, log)
    finally:
        await stop(started)


async def stop(process: asyncio.subprocess.Process) -> None:
    """End a process as an operator would, or else at once."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
