"""The pool of connections, among many who want one."""

import asyncio
from collections import Counter
from dataclasses import replace

from fw.config import Config
from fw.database import Database

GREEDY = 8
ROUNDS = 50


async def test_serves_who_waits_longest_first(config: Config) -> None:
    served: Counter[int] = Counter()
    behind: list[int] = []

    async def ask_again_and_again(database: Database, number: int) -> None:
        for _ in range(ROUNDS):
            await database.row("health.applied_migrations")
            served[number] += 1
            behind.append(max(served.values()) - served[number])

    async with Database(replace(config, db_pool=1)) as database:
        await asyncio.gather(*(ask_again_and_again(database, number) for number in range(GREEDY)))
    assert sum(served.values()) == GREEDY * ROUNDS
    assert max(behind) <= 1, f"somebody was overtaken {max(behind)} times"
