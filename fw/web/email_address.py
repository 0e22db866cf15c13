"""E-mail addresses that anyone may type."""

import re
from typing import Final
from unicodedata import normalize

from email_validator import EmailSyntaxError, ValidatedEmail, validate_email

MOST: Final = 320
MOST_OF_DOMAIN: Final = 253
MOST_OF_LABEL: Final = 63
DOT: Final = re.compile("[.\u3002]")
"""What parts the labels of a domain, once it is normalized (RFC 3490, 3.1)."""
ACE: Final = len("xn--")
"""What a label that is not ASCII has before it in ASCII; its characters take at least one each."""


def read_address(text: str) -> ValidatedEmail:
    """Check the syntax of an address, without a look-up of its domain. Raises `EmailNotValidError`.

    Domains that cannot be short enough in ASCII are refused first: to write them so takes the square of their length, 28 ms for
    240 Chinese characters.
    """
    if len(text) > MOST:
        raise EmailSyntaxError("The email address is too long.")
    labels = DOT.split(normalize("NFKC", text.rpartition("@")[2]))
    lengths = [len(label) if label.isascii() else ACE + len(label) for label in labels]
    if max(lengths) > MOST_OF_LABEL or sum(lengths) + len(lengths) - 1 > MOST_OF_DOMAIN:
        raise EmailSyntaxError("The part after the @-sign is too long.")
    return validate_email(text, check_deliverability=False)
