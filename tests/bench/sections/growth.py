"""(e) What stored items cost: submissions and lists of the service alone, from a thousand items to a million or more."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from tests.bench.bench import MOST_ITEMS, Bench
from tests.bench.calls import newest, submission
from tests.bench.client import Request
from tests.bench.load import Candidate, Load, in_turns, ratio
from tests.bench.report import Section, Target

ITEMS: Final = (1_000, 100_000)
INBOXES: Final = (1, 1_000)
CONNECTIONS: Final = 64
WARM_UP_SECONDS: Final = 1
LIMIT: Final = 1.3
PAGE: Final = 20


async def run(bench: Bench) -> Section:
    section = Section(f"(e) growth, {CONNECTIONS} connections")
    sizes = sorted({*ITEMS, MOST_ITEMS, bench.most_items})
    for inboxes in INBOXES:
        async with AsyncExitStack() as stack:
            sites = {
                f"{items:,}": await stack.enter_async_context(
                    bench.site("fw", accounts=inboxes, items=items, label=f"{items}-in-{inboxes}")
                )
                for items in sizes
            }
            # Lists first: submissions add to what is stored.
            for what, make, status in (("lists", newest, 200), ("submissions", submission, 201)):
                requests: dict[str, Sequence[Request]] = {
                    name: [make(account) for account in site.accounts] for name, site in sites.items()
                }
                candidates = {
                    name: Candidate.make(site.server, bench.folder, requests[name], status) for name, site in sites.items()
                }
                # An inbox with fewer items than a page is quicker to list, and no measure of growth.
                base = next(f"{items:,}" for items in sizes if what == "submissions" or items >= PAGE * inboxes)
                await measure(bench, section, candidates, (what, inboxes, base))
    return section


async def measure(bench: Bench, section: Section, candidates: dict[str, Candidate], about: tuple[str, int, str]) -> None:
    """Measure one kind of request at every size in turn, and tell how much slower each is than the base."""
    what, inboxes, base = about
    for candidate in candidates.values():
        await candidate.load(CONNECTIONS, WARM_UP_SECONDS)
    loads = await in_turns(candidates, lambda name: candidates[name].load(CONNECTIONS, bench.seconds))
    for name, found in loads.items():
        middle = Load.median(found)
        section.rows.append(
            {
                "what": what,
                "inboxes": inboxes,
                "items stored": name,
                "a second": middle.rate,
                "p50 ms": middle.p50,
                "p99 ms": middle.p99,
                "times slower": ratio(loads, base, name),
            }
        )
    slowest = max(ratio(loads, base, name) for name in loads)
    where = "one inbox" if inboxes == 1 else f"{inboxes:,} inboxes"
    section.targets.append(Target(f"{what} in {where}, {base} items by more", slowest, "<=", LIMIT))
