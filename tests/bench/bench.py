"""What every section is given."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.cluster import Account, Cluster, Store
from tests.bench.servers import Server, serve

MOST_ITEMS: Final = 1_000_000
"""How many items are stored at most, unless more are asked for."""


@dataclass(frozen=True, slots=True)
class Site:
    """A candidate that runs, with its database and the accounts in it."""

    store: Store
    server: Server
    accounts: Sequence[Account]


@dataclass(frozen=True, slots=True)
class Bench:
    """Where it is measured, how long a load lasts, and up to how many stored items."""

    cluster: Cluster
    folder: Path
    seconds: int
    most_items: int = MOST_ITEMS

    @asynccontextmanager
    async def site(
        self, name: str, *, accounts: int = 1, items: int = 0, label: str = "", **settings: str
    ) -> AsyncIterator[Site]:
        """Run a candidate on a database of its own, with so many accounts, and items spread over their inboxes."""
        with self.cluster.store(f"bench-{label or name}", is_fw=name == "fw") as store:
            people = store.make_accounts(accounts)
            if items:
                store.fill(people, items)
            async with serve(name, store.url, self.folder, **settings) as server:
                yield Site(store, server, people)
