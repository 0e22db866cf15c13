"""Reading what somebody else's server may have sent."""

import asyncio
from typing import Final

import aiohttp

ANSWER_BYTES: Final = 64 * 1024
"""Many times what ours sends to the calls of commands."""


async def read_start(response: aiohttp.ClientResponse) -> bytes:
    """Read the first 64 KiB of an answer: a stranger's may have no end."""
    try:
        return await response.content.readexactly(ANSWER_BYTES)
    except asyncio.IncompleteReadError as end:
        return end.partial
