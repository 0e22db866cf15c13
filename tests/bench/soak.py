"""A soak: half of what the service can take, for minutes, with live sockets; what it keeps in memory is to stay what it was.

`make soak`, or `make soak ARGS='--minutes 1'`.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import Final

import psutil
import uvloop

from tests.bench.audience import Audience, audience
from tests.bench.bench import Bench
from tests.bench.calls import submission
from tests.bench.client import Connection, connections
from tests.bench.cluster import Account, run_cluster
from tests.bench.load import Candidate
from tests.bench.sections.live import allow_files

SOCKETS: Final = 1000
"""Each of a user of its own."""
SENDERS: Final = 64
PROBE_SECONDS: Final = 5
SAMPLE_SECONDS: Final = 10
GROWTH: Final = 1.1
"""How much more the last quarter's memory may be than the second's; the first is spent on warming up."""


async def send_for(accounts: list[Account], senders: list[Connection], rate: float, seconds: float) -> int:
    """Submit at a rate, by the clock, and return how many were acknowledged."""
    requests = cycle([submission(account).encode() for account in accounts])
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for sender in senders:
        idle.put_nowait(sender)
    done = 0

    async def send(sender: Connection) -> None:
        nonlocal done
        (await sender.ask(next(requests))).json(201)
        done += 1
        idle.put_nowait(sender)

    clock = asyncio.get_running_loop().time
    begin, sent = clock(), 0
    async with asyncio.TaskGroup() as group:
        while clock() - begin < seconds:
            # Who falls behind is not given more than there are connections.
            sender = await idle.get()
            group.create_task(send(sender))
            sent += 1
            await asyncio.sleep(max(0.0, begin + sent / rate - clock()))
    return done


async def sample(process: psutil.Process, readings: list[float]) -> None:
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        readings.append(process.memory_info().rss / 1e6)


async def listen(few: Audience, totals: list[int]) -> None:
    """Take the events out of the readers' hands, so that it is the service whose memory is looked at."""
    while True:
        totals.append(await few.drain())
        await asyncio.sleep(1)


async def soak(bench: Bench, minutes: float) -> bool:
    async with bench.site("fw", accounts=SOCKETS) as site:
        accounts = list(site.accounts)
        probe = Candidate.make(site.server, bench.folder, [submission(account) for account in accounts], 201)
        most = (await probe.load(SENDERS, PROBE_SECONDS)).rate
        process, readings = psutil.Process(site.server.pid), list[float]()
        async with audience(site.server, accounts, 1) as few, connections(site.server, SENDERS) as senders:
            totals: list[int] = []
            helpers = [asyncio.create_task(sample(process, readings)), asyncio.create_task(listen(few, totals))]
            begin = time.monotonic()
            before = site.store.count()
            sent = await send_for(accounts, list(senders), most / 2, minutes * 60)
            seconds = time.monotonic() - begin
            await asyncio.sleep(2)
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            totals.append(await few.drain())
        stored = site.store.count() - before
    quarter = max(1, len(readings) // 4)
    early, late = statistics.median(readings[quarter : 2 * quarter]), statistics.median(readings[-quarter:])
    print(f"the most: {most:,.0f} a second; taken: {sent / seconds:,.0f} a second for {seconds:.0f} s, {sent:,} in all")
    print(f"stored: {stored:,}; events at {SOCKETS:,} sockets: {sum(totals):,} of {sent:,}")
    print("memory, MB: " + " ".join(f"{reading:.0f}" for reading in readings))
    print(f"second quarter {early:.1f} MB, last quarter {late:.1f} MB: {late / early:.3f} times (at most {GROWTH})")
    return stored == sent and sum(totals) == sent and late / early <= GROWTH


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description="Soak the service.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (5)")
    options = parser.parse_args()
    allow_files(SOCKETS + 1000)
    with (
        tempfile.TemporaryDirectory(prefix="fw-soak-") as name,
        run_cluster(Path(name)) as cluster,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        held = runner.run(soak(Bench(cluster, Path(name), PROBE_SECONDS), options.minutes))
    print("holds" if held else "MISSED")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
