"""Keyset paging: the opaque `next` of a page is where the following one begins."""

import base64
import re
import uuid
from typing import Final

PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{22}")
"""The 16 bytes of an id, in base64url (RFC 4648, 5) without padding."""


def encode(last_id: str) -> str:
    """Make the `next` of a page that ends with this id."""
    return base64.urlsafe_b64encode(uuid.UUID(last_id).bytes).rstrip(b"=").decode()


def decode(after: str) -> str:
    """Return the id that a page begins after. Raises `ValueError`."""
    if not PATTERN.fullmatch(after):
        raise ValueError(after)
    return str(uuid.UUID(bytes=base64.urlsafe_b64decode(f"{after}==")))
