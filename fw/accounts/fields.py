"""The fields of accounts: e-mail addresses, usernames, passwords, pictures."""

import re
from typing import Any, Final, NamedTuple

from email_validator import EmailNotValidError
from marshmallow import ValidationError, fields, validate

from fw.accounts.passwords import common_passwords
from fw.web.email_address import MOST, read_address
from fw.web.fields import IPV6, PORT, SPACE, Matching, Rule, Text, storable

USERNAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,29}")
RESERVED: Final = frozenset(
    # Words that stand in a path, or may one day, in the place of a username.
    "bulk changes events export feedback labels live login logout me notifications password premium profile read receipts "
    "register reset sessions stats tokens unread verify webhooks widgets "
    # Names that readers would mistake for the service itself.
    "about abuse account accounts admin administrator api auth billing blog contact dashboard docs email feedbackwave health "
    "help home inbox info legal mail metrics moderator null official openapi owner postmaster pricing privacy problems ready "
    "root security service settings signin signup sitemap static status support system team terms undefined user username "
    "users web webhook webmaster widget www".split()
)
NOT_IN_URLS: Final = rf"{SPACE}\x00-\x1f\x7f\x22<>\\^`{{|}}"
HTTPS: Final = rf"[Hh][Tt][Tt][Pp][Ss]://([^{NOT_IN_URLS}/?#@:\[\]]+|\[({IPV6})\])(:({PORT}))?([/?#][^{NOT_IN_URLS}]*)?"
TYPED: Final = 4096
"""Most characters of a password that is to be checked; a password that can be set is shorter."""
EXAMPLE_PASSWORD: Final = "a long one of yours"


class Email(NamedTuple):
    """An address as mail is sent to it, and its key: the same, case-folded, for comparisons."""

    address: str
    key: str


class SessionWay(fields.String):
    """How a session is told: by default with a token in the answer."""

    def __init__(self) -> None:
        text = (
            "With `cookie` the answer has no token and sets a cookie that no script can read (for pages of this server alone)."
        )
        super().__init__(validate=validate.OneOf(("cookie",)), load_default=None, metadata={"description": text})


class EmailField(Rule[Email]):
    """An e-mail address; its syntax is checked, and no DNS look-up is made."""

    def read(self, value: Any) -> Email:
        if not isinstance(value, str):
            raise ValidationError("Must be an e-mail address.")
        try:
            address = read_address(storable(value)).normalized
        except EmailNotValidError as error:
            raise ValidationError(str(error)) from None
        return Email(address, address.casefold())

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "format": "email", "maxLength": MOST, "examples": ["you@example.com"]}


class Username(Matching):
    """A username that is not reserved, kept as typed."""

    def __init__(self, **options: Any) -> None:
        error = "Must be 3 to 30 letters (A-Z), digits, '_' or '-', and begin with a letter or digit."
        super().__init__(USERNAME.pattern, error, example="you", **options)

    def read(self, value: Any) -> str:
        if super().read(value).lower() in RESERVED:
            raise ValidationError("This name is reserved.")
        return str(value)


class NewPassword(Text):
    """A new password: any characters, exactly as typed, but none of the most common passwords."""

    def __init__(self, **options: Any) -> None:
        super().__init__(8, 256, example=EXAMPLE_PASSWORD, required=True, **options)

    def read(self, value: Any) -> str:
        password = super().read(value)
        if password.lower() in common_passwords():
            raise ValidationError("This is one of the most common passwords.")
        return password

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "format": "password"}


class ImageUrl(Matching):
    """An `https://` URL of at most 2,000 characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            HTTPS,
            "Must be an https:// URL of at most 2,000 characters.",
            high=2000,
            example="https://example.com/you.png",
            **options,
        )

    def read(self, value: Any) -> str:
        return storable(super().read(value))


def refuse_own_name(password: str, *names: str, field: str = "password") -> None:
    """Raises `ValidationError` if the password is the account's own username or e-mail address (ASVS 5.0, 6.2.11)."""
    if password.casefold() in {name.casefold() for name in names}:
        raise ValidationError({field: ["Must not be your username or e-mail address."]})
