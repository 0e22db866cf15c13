"""(c) Live sockets: how soon an event is there, what a socket takes, and how long a word to everybody takes."""

import asyncio
import resource
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final

import psutil

from tests.bench.audience import Audience, audience
from tests.bench.bench import Bench, Site
from tests.bench.calls import submission
from tests.bench.client import Answer, Connection, connections
from tests.bench.cluster import Account
from tests.bench.load import ROUNDS, Missing
from tests.bench.report import Section, Target

EACH: Final = 20
"""Sockets of one user: as many as one may have."""
FEW_USERS: Final = 50
USERS: Final = 500
SENDERS: Final = 32
A_SECOND: Final = 200
SETTLE_SECONDS: Final = 2.0
ARRIVE_SECONDS: Final = 15.0
FILES: Final = USERS * EACH + 1000


async def run(bench: Bench) -> Section:
    section = Section("(c) live")
    allow_files(FILES)
    async with bench.site("fw", accounts=FEW_USERS) as site, audience(site.server, site.accounts, EACH) as few:
        await measure_delay(section, site, few, bench.seconds)
    # Another process: what the first has taken and given back is not to count.
    async with bench.site("fw", accounts=USERS) as site:
        await measure_many(section, site)
    return section


def allow_files(count: int) -> None:
    """Have so many files open in this process and those it starts. Raises `Missing`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(count, hard)))
    except (ValueError, PermissionError):
        raise Missing(f"{count:,} open files are needed for the live sockets, and {hard:,} are allowed (ulimit -Hn)") from None


async def measure_delay(section: Section, site: Site, few: Audience, seconds: int) -> None:
    """Measure from a sender's 201 to the event at each of the sockets; below zero where the event was there first."""
    halves, lates = [], []
    async with connections(site.server, SENDERS) as senders:
        await burst(site.accounts, senders)
        await few.take(FEW_USERS * EACH, ARRIVE_SECONDS)
        for _ in range(ROUNDS):
            acknowledged = await send_steadily(site.accounts, senders, seconds)
            arrived = await few.take(len(acknowledged) * EACH, ARRIVE_SECONDS)
            delays = sorted((moment - acknowledged[feedback_id]) / 1e6 for feedback_id, moment in arrived)
            halves.append(delays[len(delays) // 2])
            lates.append(delays[len(delays) * 99 // 100])
    what = f"{few.size:,} sockets, {A_SECOND} submissions a second: from 201 to event"
    section.rows += [
        {"what": f"{what}, p50", "figure": statistics.median(halves), "unit": "ms"},
        {"what": f"{what}, p99", "figure": statistics.median(lates), "unit": "ms"},
    ]
    section.targets.append(Target("live p99", statistics.median(lates), "<", 25, "ms"))


async def send_steadily(accounts: Sequence[Account], senders: Sequence[Connection], seconds: int) -> dict[str, int]:
    """Submit so many a second, to one account after the other; return when each was acknowledged, by its id."""
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for sender in senders:
        idle.put_nowait(sender)
    acknowledged: dict[str, int] = {}

    async def send(account: Account) -> None:
        sender = await idle.get()
        answer = await sender.ask(submission(account).encode())
        idle.put_nowait(sender)
        acknowledged[answer.json(201)["id"]] = answer.received

    clock = asyncio.get_running_loop().time
    begin = clock()
    async with asyncio.TaskGroup() as group:
        for n, account in enumerate(islice(cycle(accounts), A_SECOND * seconds)):
            # By the clock and not by the answers: a server that falls behind is not given time to catch up.
            await asyncio.sleep(max(0.0, begin + n / A_SECOND - clock()))
            group.create_task(send(account))
    return acknowledged


async def burst(accounts: Sequence[Account], senders: Sequence[Connection]) -> list[Answer]:
    """Submit to every account at once, as far as there are connections, and return the answers."""
    requests = iter([submission(account).encode() for account in accounts])

    async def send(sender: Connection) -> list[Answer]:
        return [await sender.ask(request) for request in requests]

    found = [answer for answers in await asyncio.gather(*map(send, senders)) for answer in answers]
    for answer in found:
        answer.json(201)
    return found


@dataclass(frozen=True, slots=True)
class Spread:
    """How long one event to every socket took, in seconds."""

    since_first: float
    since_last: float


async def measure_many(section: Section, site: Site) -> None:
    """Measure what an idle socket takes, and how long it takes to tell them all something."""
    async with connections(site.server, USERS) as senders:
        await burst(site.accounts, senders)
        # The first few sockets and what they load belong to no socket in particular.
        async with audience(site.server, site.accounts[:1], EACH):
            pass
        process = psutil.Process(site.server.pid)
        before = process.memory_info().rss
        async with audience(site.server, site.accounts, EACH) as many:
            # What the last handshakes needed is given back.
            await asyncio.sleep(SETTLE_SECONDS)
            each = (process.memory_info().rss - before) / many.size / 1000
            spreads = [await spread(site, many, senders) for _ in range(ROUNDS)]
    since_last = statistics.median(one.since_last for one in spreads)
    since_first = statistics.median(one.since_first for one in spreads)
    what = f"one event to each of {many.size:,} sockets ({len(site.accounts)} submissions at once)"
    section.rows += [
        {"what": f"memory of an idle socket ({many.size:,} open)", "figure": each, "unit": "kB"},
        {"what": f"{what}, from the last 201", "figure": since_last, "unit": "s"},
        {"what": f"{what}, from the first submission", "figure": since_first, "unit": "s"},
    ]
    section.targets += [
        Target("memory of a socket", each, "<", 5, "kB"),
        Target(f"{many.size:,} sends after the last 201", since_last, "<", 0.5, "s"),
    ]


async def spread(site: Site, many: Audience, senders: Sequence[Connection]) -> Spread:
    answers = await burst(site.accounts, senders)
    arrived = await many.take(many.size, ARRIVE_SECONDS)
    end = max(moment for _, moment in arrived)
    first, last = min(answer.sent for answer in answers), max(answer.received for answer in answers)
    return Spread((end - first) / 1e9, (end - last) / 1e9)
