"""Header fields that are lists (RFC 9110, 5.6.1)."""

from typing import Final

from aiohttp import web

MOST: Final = 32
"""How many members of a list are looked at: a head has room for thousands, and each takes time."""


def members_of(request: web.BaseRequest, name: str) -> list[str]:
    """Return the first members of a list, without the spaces around them."""
    text = ",".join(request.headers.getall(name, ()))
    return [part.strip() for part in text.split(",", MOST)[:MOST]]
