"""The pool of connections, among many who want one."""

import asyncio
from dataclasses import replace
from itertools import count
from typing import Any

from fw.config import Config
from fw.database import Database

CONNECTIONS = 3
GREEDY = 12
ROUNDS = 30


async def test_serves_who_waits_longest_first(config: Config) -> None:
    numbers = count()
    served: list[int] = []

    async def ask_again_and_again(database: Database) -> None:
        for _ in range(ROUNDS):
            number = next(numbers)

            async def run(connection: Any, number: int = number) -> None:
                served.append(number)
                await connection.fetchval("SELECT 1")

            await database._run("a test", run)

    async with Database(replace(config, db_pool=CONNECTIONS)) as database:
        await asyncio.gather(*(ask_again_and_again(database) for _ in range(GREEDY)))
    assert sorted(served) == list(range(GREEDY * ROUNDS))
    # Those who come first wait for connections to be made, each for its own.
    late = max(place - number for place, number in enumerate(served) if number >= GREEDY)
    assert late <= CONNECTIONS, f"somebody was overtaken by {late}"
