"""(g) What one of each costs: a processor's time of the service and of PostgreSQL, and bytes.

With FW_TEST_CITUS_URL the same on a Citus cluster, whose servers have to be on this machine.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.bench.audience import audience
from tests.bench.bench import Bench, Site
from tests.bench.calls import newest, submission
from tests.bench.client import Request
from tests.bench.cluster import Store
from tests.bench.load import Candidate, Missing
from tests.bench.processors import Processors, postmaster
from tests.bench.report import Section
from tests.bench.servers import serve
from tests.support import citus

USERS: Final = 200
ITEMS: Final = 200_000
SOCKETS_EACH: Final = 10
SHARDS: Final = 32
PLAIN: Final = "one PostgreSQL"
SPREAD: Final = "Citus"
PEERS: Final = ("go", "plain", "bare")
CONNECTIONS: Final = 64
WARM_UP_SECONDS: Final = 2
ROUNDS: Final = 3


async def run(bench: Bench) -> Section:
    section = Section("(g) what one of each costs: microseconds of a processor, and bytes")
    async with bench.site("fw", accounts=USERS, items=ITEMS) as site:
        await measure(section, bench, PLAIN, site, {"PostgreSQL": postmaster(site.store.url)})
        stored = size_of(site.store)
    section.rows.append({"on": PLAIN, "what": "an item, stored", "of": "disk", "cost": stored, "unit": "bytes"})
    for name in PEERS:
        with suppress(Missing):
            async with bench.site(name, accounts=USERS) as site:
                processors = Processors({"service": site.server.pid, "PostgreSQL": postmaster(site.store.url)})
                costs = await cost(bench, site, processors, [submission(who) for who in site.accounts], 201)
            add(section, name, "a submission", costs)
    if citus.CLUSTER:
        async with spread_site(bench) as site:
            nodes = citus.nodes_of(site.store.url)
            servers = {
                "coordinator" if group == 0 else f"node {group}": postmaster(citus.url_of(site.store.url, address=(host, port)))
                for host, port, group in nodes
            }
            await measure(section, bench, SPREAD, site, servers)
    return section


@asynccontextmanager
async def spread_site(bench: Bench) -> AsyncIterator[Site]:
    """Run the service on a database that is spread over the nodes of a cluster."""
    with citus.spread_database(SHARDS) as config:
        store = Store(config.database_url, is_fw=True)
        people = store.make_accounts(USERS)
        async with serve("fw", store.url, bench.folder) as server:
            yield Site(store, server, people)


async def measure(section: Section, bench: Bench, where: str, site: Site, servers: Mapping[str, int]) -> None:
    """Add what a submission, a list and an event of a live socket take of each server."""
    processors = Processors({"service": site.server.pid, **servers})
    sent = await cost(bench, site, processors, [submission(who) for who in site.accounts], 201)
    read = await cost(bench, site, processors, [newest(who) for who in site.accounts], 200)
    async with audience(site.server, site.accounts[:20], SOCKETS_EACH):
        told = await cost(bench, site, processors, [submission(who) for who in site.accounts[:20]], 201)
    event = {"service": (told["service"] - sent["service"]) / SOCKETS_EACH}
    for what, costs in (("a submission", sent), ("a list of 20", read), ("an event to a socket", event)):
        add(section, where, what, costs)


def add(section: Section, where: str, what: str, costs: Mapping[str, float]) -> None:
    for server, microseconds in costs.items():
        section.rows.append({"on": where, "what": what, "of": server, "cost": microseconds, "unit": "us"})


async def cost(bench: Bench, site: Site, processors: Processors, requests: Sequence[Request], status: int) -> dict[str, float]:
    """Return the microseconds of a request, by server, of the round in which the service took least."""
    candidate = Candidate.make(site.server, bench.folder, requests, status)
    await candidate.load(CONNECTIONS, WARM_UP_SECONDS)
    found = []
    for _ in range(ROUNDS):
        before = processors.seconds()
        load = await candidate.load(CONNECTIONS, bench.seconds)
        after = processors.seconds()
        found.append({name: (after[name] - before[name]) / load.requests * 1e6 for name in before})
    return min(found, key=lambda costs: costs["service"])


def size_of(store: Store) -> float:
    """Return the bytes of an item with its indexes."""
    with store.connect() as connection:
        connection.execute("VACUUM feedback")
        row = connection.execute("SELECT pg_total_relation_size('feedback')::float8 / count(*) FROM feedback").fetchone()
    return float(row[0]) if row else 0.0
