"""The candidates as processes: one each, on loopback, started when they are needed and stopped by their pid."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.bench.cluster import SECRET
from tests.bench.go import build_go
from tests.bench.peers.serving import POOL
from tests.support.processes import start, start_program

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
    if name == "go":
        started = await start_program(name, str(build_go(folder)), folder=folder, POOL=str(POOL), **settings)
    else:
        started = await start(MODULES[name], *(["serve"] if name == "fw" else []), folder=folder, **settings)
    try:
        url = urlsplit(await started.url())
        yield Server(name, url.hostname or "", url.port or 0, started.process.pid, started.log)
    finally:
        await stop(started.process)


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
