"""(d) Submissions while people log in: hashing passwords takes every core that there is."""

import asyncio
import statistics
import time
from typing import Final

from tests.bench.bench import Bench, Site
from tests.bench.calls import submission
from tests.bench.client import Connection, Request, ask, connections
from tests.bench.load import Candidate, Load, in_turns, ratio
from tests.bench.report import Section, Target

CONNECTIONS: Final = 16
LOGINS: Final = 4
COST: Final = "12"
PERSON: Final = {"username": "someone", "password": "correct horse battery staple"}
WARM_UP_SECONDS: Final = 1


async def run(bench: Bench) -> Section:
    section = Section(f"(d) submissions at {CONNECTIONS} connections, quiet and while {LOGINS} log in at once")
    async with bench.site("fw", FW_BCRYPT_COST=COST) as site:
        await ask(site.server, Request("POST", "/api/auth/register", {**PERSON, "email": "someone@example.com"}), 201)
        candidate = Candidate.make(site.server, bench.folder, [submission(site.accounts[0])], 201)
        await candidate.load(CONNECTIONS, WARM_UP_SECONDS)
        rates: list[float] = []

        async def measure(name: str) -> Load:
            if name == "quiet":
                return await candidate.load(CONNECTIONS, bench.seconds)
            return await among_logins(site, candidate, bench.seconds, rates)

        loads = await in_turns(("quiet", "logins"), measure)
    for name, found in loads.items():
        middle = Load.median(found)
        section.rows.append(
            {
                "meanwhile": name,
                "a second": middle.rate,
                "p50 ms": middle.p50,
                "p99 ms": middle.p99,
                "p99, times quiet": ratio(loads, name, "quiet", "p99"),
                "logins a second": 0.0 if name == "quiet" else statistics.median(rates),
            }
        )
    section.targets.append(Target("p99 among logins by quiet p99", ratio(loads, "logins", "quiet", "p99"), "<", 4))
    return section


async def among_logins(site: Site, candidate: Candidate, seconds: int, rates: list[float]) -> Load:
    """Load while others log in, one after the other at each connection; note how many did a second."""
    begin = time.monotonic()
    async with connections(site.server, LOGINS) as doors, asyncio.TaskGroup() as group:
        stop = asyncio.Event()
        counts = [group.create_task(log_in(door, stop)) for door in doors]
        try:
            load = await candidate.load(CONNECTIONS, seconds)
        finally:
            stop.set()
    rates.append(sum(count.result() for count in counts) / (time.monotonic() - begin))
    return load


async def log_in(door: Connection, stop: asyncio.Event) -> int:
    """Log in until told to stop, and return how often."""
    count = 0
    request = Request("POST", "/api/auth/login", PERSON).encode()
    while not stop.is_set():
        (await door.ask(request)).json(200)
        count += 1
    return count
