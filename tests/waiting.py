"""Waiting on conditions, never on durations."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

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
