"""Links that mails have, and their tokens.

A token is made of the server's secret and the mail's job: so a mail that is sent again has the same one, and it is stored
nowhere. It stands in the fragment, which is sent to no server: whatever opens links of mails to look at them uses none up.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from fw.config import Config

VERIFY: Final = "verify"
RESET: Final = "reset"
UNSUBSCRIBE: Final = "unsubscribe"


def link_token(secret: str, purpose: str, job_id: str) -> str:
    """Return the token of a mail's link: 256 bits, which nobody can make who has not the secret."""
    return text_of(mac(secret, purpose, job_id))


def token_hash(token: str) -> bytes:
    """Return what is stored of a token (ASVS 5.0, 6.5.1): it has 256 bits that nobody can guess, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


def link(config: Config, page: str, token: str) -> str:
    """Return the link to a page that takes a token."""
    return f"{config.origin}/{page}#token={token}"


def unsubscribe_token(secret: str, user_id: str) -> str:
    """Return the token that turns mails to an account off. It does not end: a mail may be as old as it likes."""
    return text_of(UUID(user_id).bytes + mac(secret, UNSUBSCRIBE, user_id))


def unsubscribed_user(secrets: Sequence[str], token: str) -> str | None:
    """Return the id of the account that a token is for; None if it is not valid."""
    try:
        user_id = str(UUID(bytes=urlsafe_b64decode(token.encode("ascii"))[:16]))
    except ValueError:
        return None
    made = (unsubscribe_token(secret, user_id) for secret in secrets)
    return user_id if any(hmac.compare_digest(each, token) for each in made) else None


def mac(secret: str, purpose: str, subject: str) -> bytes:
    # A JWT, which the secret signs too, has no space in what is signed.
    return hmac.digest(secret.encode(), f"{purpose} {subject}".encode(), "sha256")


def text_of(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
