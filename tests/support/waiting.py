"""Waiting on conditions, never on durations."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

T = TypeVar("T")


async def until(condition: Callable[[], Awaitable[T]], what: str = "", *, seconds: float = 15.0) -> T:
    """Ask until the condition holds, and return what it returned; fail with what was waited for and seen last."""
    seen: T | None = None
    try:
        async with asyncio.timeout(seconds):
            while not (seen := await condition()):
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {seconds} s for {what or condition.__qualname__}; saw {seen!r}") from None
    return seen


async def someone_waits_for(sql: asyncpg.Connection) -> None:
    """Wait until another connection waits for a lock that this one holds."""
    asked = "SELECT count(*) > 0 FROM pg_locks AS l WHERE NOT l.granted AND pg_backend_pid() = ANY (pg_blocking_pids(l.pid))"
    if await sql.fetchval("SELECT to_regclass('citus_lock_waits') IS NOT NULL"):
        # On any node.
        asked = f"SELECT ({asked}) OR EXISTS (SELECT FROM citus_lock_waits WHERE blocking_gpid = citus_backend_gpid())"

    async def waits() -> bool:
        return await sql.fetchval(asked)

    await until(waits, "a statement to wait")
