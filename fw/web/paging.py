"""Keyset paging: the opaque `next` of a page has the id that the following page begins after."""

import base64
import re
import uuid
from typing import Final

PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{22}")
"""The 16 bytes of an id, in base64url (RFC 4648, 5) without padding."""


def next_after(last_id: str) -> str:
    """Return the `next` of a page that ends with this id."""
    return base64.urlsafe_b64encode(uuid.UUID(last_id).bytes).rstrip(b"=").decode()


def read_after(after: str) -> str:
    """Return the id that the next page begins after. Raises `ValueError` if this is the `next` of no page."""
    if not PATTERN.fullmatch(after):
        raise ValueError(after)
    return str(uuid.UUID(bytes=base64.urlsafe_b64decode(f"{after}==")))
