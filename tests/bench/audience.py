"""The other end of the watcher: opens live sockets, and asks what they were told."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from tests.bench.cluster import Account
from tests.bench.servers import Server, stop
from tests.bench.watcher import OPEN_SECONDS
from tests.support.processes import environment

LINE_BYTES: Final = 1 << 26
SLACK_SECONDS: Final = 30


class Audience:
    """So many open sockets of each account."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.size = 0

    async def open(self, server: Server, accounts: Sequence[Account], each: int) -> None:
        tokens = [account.token for account in accounts]
        told = await self._say(OPEN_SECONDS, host=server.host, port=server.port, tokens=tokens, each=each)
        self.size = told["open"]

    async def take(self, expected: int, seconds: float) -> list[tuple[str, int]]:
        """Return the feedback ids that came, with their moments. Raises `RuntimeError` where it is not just so many."""
        told = await self._say(seconds, events=expected, seconds=seconds)
        if len(told["events"]) != expected or told["closed"]:
            raise RuntimeError(f"{len(told['events']):,} events of {expected:,} came, and {told['closed']} sockets were closed")
        return [(feedback_id, moment) for feedback_id, moment in told["events"]]

    async def drain(self) -> int:
        """Return how many events have come since. Raises `RuntimeError` where a socket was closed."""
        told = await self._say(0, events=0, seconds=0)
        if told["closed"]:
            raise RuntimeError(f"{told['closed']} sockets were closed")
        return len(told["events"])

    async def _say(self, patience: float, **command: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        async with asyncio.timeout(patience + SLACK_SECONDS):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the watcher of the live sockets has ended")
        return json.loads(line)


@asynccontextmanager
async def audience(server: Server, accounts: Sequence[Account], each: int) -> AsyncIterator[Audience]:
    """Open so many live sockets of each account, in a process of their own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.bench.watcher"),
        env=environment({}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES,
    )
    try:
        opened = Audience(process)
        await opened.open(server, accounts, each)
        yield opened
    finally:
        await stop(process)
