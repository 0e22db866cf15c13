"""(b) The newest 20 of 10,000 items, with the counts of an inbox, for its owner."""

from contextlib import AsyncExitStack
from typing import Final

from tests.bench.bench import Bench, Site
from tests.bench.calls import newest
from tests.bench.client import ask
from tests.bench.load import Candidate, Load, in_turns, ratio
from tests.bench.report import Section, Target

NAMES: Final = ("fw", "fastapi-asyncpg", "sqlalchemy")
ITEMS: Final = 10_000
UNREAD: Final = (ITEMS + 2) // 3
CONNECTIONS: Final = 64
WARM_UP_SECONDS: Final = 1


async def run(bench: Bench) -> Section:
    section = Section(f"(b) the newest 20 of {ITEMS:,} items, {CONNECTIONS} connections")
    async with AsyncExitStack() as stack:
        sites = {name: await stack.enter_async_context(bench.site(name, items=ITEMS)) for name in NAMES}
        candidates = {
            name: Candidate.make(site.server, bench.folder, [newest(site.accounts[0])], 200) for name, site in sites.items()
        }
        for name, candidate in candidates.items():
            await check(sites[name])
            await candidate.load(CONNECTIONS, WARM_UP_SECONDS)
        loads = await in_turns(NAMES, lambda name: candidates[name].load(CONNECTIONS, bench.seconds))
    for name in NAMES:
        middle = Load.median(loads[name])
        section.rows.append(
            {
                "candidate": name,
                "a second": middle.rate,
                "p50 ms": middle.p50,
                "p99 ms": middle.p99,
                "fw, times as many": ratio(loads, "fw", name),
            }
        )
    section.targets.append(Target("fw by sqlalchemy, lists", ratio(loads, "fw", "sqlalchemy"), ">=", 5))
    return section


async def check(site: Site) -> None:
    """Make sure that everybody answers the same question, and nobody a bad token."""
    page = await ask(site.server, newest(site.accounts[0]), 200)
    found = len(page["items"]), page["unread_count"], page["total_count"]
    if found != (20, UNREAD, ITEMS):
        raise RuntimeError(f"{site.server.name} lists {found}, not {(20, UNREAD, ITEMS)}")
    moments = [item["created_at"] for item in page["items"]]
    if moments != sorted(moments, reverse=True):
        raise RuntimeError(f"{site.server.name} does not list the newest first")
    await ask(site.server, newest(site.accounts[0].with_bad_token()), 401)
