"""Keyset paging: the opaque `next` of a page is where the following one begins."""

import base64
import binascii
import uuid

from fw.errors import Invalid


def encode(last_id: str) -> str:
    """Make the `next` of a page that ends with this id."""
    return base64.urlsafe_b64encode(uuid.UUID(last_id).bytes).rstrip(b"=").decode()


def decode(after: str) -> str:
    """Return the id that a page begins after. Raises `Invalid`."""
    try:
        return str(uuid.UUID(bytes=base64.b64decode(after.encode("ascii") + b"==", altchars=b"-_", validate=True)))
    except (binascii.Error, ValueError):
        raise Invalid(errors={"after": ["Must be the 'next' of another page."]}) from None
