"""(a) Submissions to one inbox, by one connection and by many at once."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Final

from tests.bench.bench import Bench, Site
from tests.bench.calls import submission
from tests.bench.go import why_no_go
from tests.bench.load import Candidate, Load, in_turns, ratio
from tests.bench.report import Section, Target

TWO: Final = "fw-2-processes"
CANDIDATES: Final[Mapping[str, str]] = {
    "fw": "fw",
    TWO: "fw",
    "go": "go",
    "bare": "bare",
    "plain": "plain",
    "fastapi-asyncpg": "fastapi-asyncpg",
    "sqlalchemy": "sqlalchemy",
}
"""The candidates' names, and the programs that they are."""
SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {TWO: {"WEB_CONCURRENCY": "2"}}
CONNECTIONS: Final = (1, 16, 64, 256)
USUAL: Final = 64
BY_GO: Final = {1: 0.8, 16: 1.0, 64: 1.25, 256: 1.6}
"""How many times as many submissions as the compiled peer takes are to be reached, by the number of connections."""
WARM_UP_SECONDS: Final = 1


async def run(bench: Bench) -> Section:
    section = Section("(a) submissions")
    lacking = why_no_go()
    names = [name for name in CANDIDATES if name != "go" or not lacking]
    if lacking:
        print(lacking, flush=True)
    async with AsyncExitStack() as stack:
        sites = {
            name: await stack.enter_async_context(bench.site(CANDIDATES[name], label=name, **SETTINGS.get(name, {})))
            for name in names
        }
        candidates = {
            name: Candidate.make(site.server, bench.folder, [submission(site.accounts[0])], 201) for name, site in sites.items()
        }
        for candidate in candidates.values():
            await candidate.load(USUAL, WARM_UP_SECONDS)
        for connections in CONNECTIONS:

            async def measure(name: str, connections: int = connections) -> Load:
                return await load(sites[name], candidates[name], connections, bench.seconds)

            loads = await in_turns(names, measure)
            for name in names:
                middle = Load.median(loads[name])
                section.rows.append(
                    {
                        "candidate": name,
                        "connections": connections,
                        "a second": middle.rate,
                        "p50 ms": middle.p50,
                        "p99 ms": middle.p99,
                        "fw, times as many": ratio(loads, "fw", name),
                        "fw's p99, times": ratio(loads, "fw", name, "p99"),
                    }
                )
            if not lacking:
                many = ratio(loads, "fw", "go")
                section.targets.append(
                    Target(f"fw by go, submissions at {connections} connections", many, ">=", BY_GO[connections])
                )
                if connections == 1:
                    late_by_go = ratio(loads, "fw", "go", "p99")
                    section.targets.append(Target("fw's p99 by go's at 1 connection", late_by_go, "<=", 1.5))
            if connections == USUAL:
                section.targets += [
                    Target(f"fw by {name}, submissions at {USUAL} connections", ratio(loads, "fw", name), ">=", limit)
                    for name, limit in (("bare", 0.45), ("sqlalchemy", 25), ("fastapi-asyncpg", 3))
                ]
            if connections == 1:
                late = ratio(loads, "fw", "plain", "p99")
                section.targets.append(Target("fw's p99 by plain's at 1 connection", late, "<=", 1.5))
    return section


async def load(site: Site, candidate: Candidate, connections: int, seconds: int) -> Load:
    """Load a candidate and check that it has stored what it said it had."""
    if site.server.name == "bare":
        return await candidate.load(connections, seconds)
    before = site.store.count()
    found = await candidate.load(connections, seconds)
    stored = site.store.count() - before
    if stored < found.requests:
        raise RuntimeError(f"{site.server.name} acknowledged {found.requests:,.0f} submissions and stored {stored:,}")
    return found
