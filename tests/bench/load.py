"""Load by wrk, in turns: what one candidate does at a time, what is told of it, and what it is to the others."""

import asyncio
import json
import shutil
import statistics
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, Self

from tests.bench.client import Request, ask
from tests.bench.servers import Server

ROUNDS: Final = 3
TIMEOUT_SECONDS: Final = 10
"""How late an answer may be; the slowest candidates need more than wrk's own two seconds at 256 connections."""

# One request needs no function, which wrk would call each time; many are made once and sent in turn.
ONE: Final = """
wrk.method, wrk.path, wrk.body = {method}, {path}, {body}
wrk.headers = {headers}
"""
MANY: Final = """
local made, turn = {{}}, 0
function init(arguments)
{made}
end
function request()
  turn = turn % #made + 1
  return made[turn]
end
"""
MAKE: Final = "  made[#made + 1] = wrk.format({method}, {path}, {headers}, {body})"
DONE: Final = """
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\\nRESULT {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "failed": %d, "broken": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


class Missing(Exception):
    """Something that the machine lacks; the message is one line that says what."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of a load: answers a second, and milliseconds for half of them and for 99 in 100."""

    rate: float
    p50: float
    p99: float
    requests: float

    @classmethod
    def median(cls, loads: Sequence[Self]) -> Self:
        return cls(*(statistics.median(getattr(load, field.name) for load in loads) for field in fields(cls)))

    def by_name(self) -> dict[str, float]:
        return {name: round(value, 3) for name, value in asdict(self).items()}


def find_wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        raise Missing("wrk is not installed, which makes the load (Debian: apt-get install wrk)")
    return found


def write_script(folder: Path, requests: Sequence[Request]) -> Path:
    """Write what wrk is to send."""
    if len(requests) == 1:
        lines = ONE.format_map(as_lua(requests[0]))
    else:
        lines = MANY.format(made="\n".join(MAKE.format_map(as_lua(request)) for request in requests))
    path = folder / f"load-{len(list(folder.glob('load-*.lua')))}.lua"
    path.write_text(lines + DONE, encoding="utf-8")
    return path


def as_lua(request: Request) -> dict[str, str]:
    body = request.payload.decode()
    headers = ", ".join(f"[{quote(name)}] = {quote(value)}" for name, value in request.headers.items())
    values = {"method": request.method, "path": request.path}
    return {name: quote(value) for name, value in values.items()} | {
        "body": quote(body) if body else "nil",
        "headers": f"{{{headers}}}",
    }


def quote(text: str) -> str:
    """Write text as Lua does: in ASCII, JSON's escapes of quotes, backslashes and line ends are Lua's too."""
    assert text.isascii()
    return json.dumps(text)


async def run(server: Server, script: Path, connections: int, seconds: int) -> Load:
    """Load a candidate. Raises `RuntimeError` where any answer was no success, or none."""
    process = await asyncio.create_subprocess_exec(
        find_wrk(),
        *("-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s", "-s", str(script), server.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds + 2 * TIMEOUT_SECONDS):
            output = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    _, found, result = output.partition("\nRESULT ")
    if process.returncode or not found:
        raise RuntimeError(f"wrk ended with {process.returncode}: {output.strip()}")
    told = json.loads(result)
    if told["failed"] or told["broken"]:
        log = server.log.read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{server.name} at {connections} connections: {told}; the end of its log:\n{log[-2000:]}")
    return Load(told["requests"] / told["seconds"], told["p50"], told["p99"], told["requests"])


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate's server with the requests that it is sent, and the status that they are answered with."""

    server: Server
    script: Path
    first: Request
    status: int

    @classmethod
    def make(cls, server: Server, folder: Path, requests: Sequence[Request], status: int) -> Self:
        return cls(server, write_script(folder, requests), requests[0], status)

    async def load(self, connections: int, seconds: int) -> Load:
        """Load it, and wait until it is idle: what it still has queued is not to burden the next in turn."""
        load = await run(self.server, self.script, connections, seconds)
        await ask(self.server, self.first, self.status)
        if not load.requests and seconds < TIMEOUT_SECONDS:
            # So slow that in this time not even the first of so many was answered.
            return await self.load(connections, 2 * seconds)
        return load


async def in_turns(
    names: Iterable[str], measure: Callable[[str], Awaitable[Load]], rounds: int = ROUNDS
) -> Mapping[str, Sequence[Load]]:
    """Measure each in turn, and again: what else the machine does then falls on all of them."""
    found: dict[str, list[Load]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, loads in found.items():
            loads.append(await measure(name))
    return found


def ratio(loads: Mapping[str, Sequence[Load]], one: str, other: str, figure: str = "rate") -> float:
    """Return the median of what one is to the other, round by round."""
    pairs = zip(loads[one], loads[other], strict=True)
    return float(statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in pairs))
