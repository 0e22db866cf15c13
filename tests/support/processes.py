"""Real processes of `fw`, on ports that the kernel picks, ended by their pid."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.support.waiting import until

SETTINGS = {"FW_JWT_SECRET": "s" * 32, "FW_RATE_LIMITS": "off"}
LISTENS = re.compile(r"listens on (http://\S+)")


class Process:
    """A running `fw`, whose output goes to a file."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def output(self) -> str:
        return self.log.read_text()

    async def url(self) -> str:
        """Wait until the server answers, and return its address."""

        async def listens() -> str | None:
            if self.process.returncode is not None:
                raise AssertionError(f"fw ended with {self.process.returncode}:\n{self.output}")
            found = LISTENS.search(self.output)
            return found[1] if found else None

        return await until(listens, f"fw to listen; its output:\n{self.output}", seconds=60)

    async def ended(self) -> int:
        """Wait for the end, and return the exit code."""
        return await asyncio.wait_for(self.process.wait(), 90)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code."""
        self.process.send_signal(number)
        return await self.ended()


@asynccontextmanager
async def fw(*arguments: str, folder: Path, **settings: str) -> AsyncIterator[Process]:
    """Run `fw` in a folder with these settings alone; it is killed at the end if it still runs."""
    started = await start("fw", *arguments, folder=folder, **settings)
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.process.kill()
        await started.process.wait()


async def start(module: str, *arguments: str, folder: Path, **settings: str) -> Process:
    """Start a module in a folder with these settings alone; the caller stops it."""
    return await start_program(module, sys.executable, "-m", module, *arguments, folder=folder, **settings)


async def start_program(name: str, *command: str, folder: Path, **settings: str) -> Process:
    """Start a program in the same way; its log has the given name."""
    log = folder / f"{name}-{len(list(folder.glob(f'{name}-*.log')))}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=environment(settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    return Process(process, log)


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what this machine needs, without settings of its own that the program would read."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    root = str(Path(__file__).parent.parent.parent)
    return {**kept, "PYTHONPATH": root, "PYTHONUNBUFFERED": "1", "PORT": "0", "FW_BCRYPT_COST": "4", **settings}
