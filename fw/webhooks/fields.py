"""The address of a webhook."""

import re
from typing import Any, Final

from marshmallow import ValidationError
from yarl import URL

from fw.web.fields import SPACE, Rule, storable
from fw.webhooks.addresses import is_ipv4, is_numeric, is_public

MOST: Final = 2000
WRONG: Final = re.compile(rf"[{SPACE}\x00-\x1f\x7f\\#<>\"^`{{|}}]")
"""What may not stand in an address as it is; "#" begins a fragment, which is never sent."""
BEGINNING: Final = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://([^/?:@\[\]]+|\[[^/?@\[\]]+\])(:[0-9]{1,5})?([/?].*)?")
HOST: Final = 253
HOST_TO_ENCODE: Final = 80
"""The longest host that is not in ASCII: to write one of 2,000 characters in IDNA takes 0.1 s."""
NAME: Final = re.compile(r"(?=.{1,253}\.?$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.?")
"""A name of DNS, in lower case and IDNA."""


class WebhookUrl(Rule[str]):
    """An address of http or https without credentials and fragment; the value is its one spelling, with the name in IDNA.

    Whether http and private addresses are taken depends on the server's settings: `why_refused` tells.
    """

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Must be text.")
        if len(value) > MOST:
            raise ValidationError(f"Must have at most {MOST:,} characters.")
        parts = BEGINNING.fullmatch(value)
        if WRONG.search(storable(value)) or not parts:
            raise ValidationError(
                "Must be an https:// address, without spaces, without a name or password, and without a fragment ('#')."
            )
        if len(parts[1]) > (HOST if parts[1].isascii() else HOST_TO_ENCODE):
            raise ValidationError("Its host is too long.")
        return spelled(value)

    def describe(self) -> dict[str, Any]:
        return {
            "type": "string",
            "format": "uri",
            "maxLength": MOST,
            "description": "Starts with `https://`, without credentials and without a fragment. No private address.",
            "examples": ["https://example.com/hooks"],
        }


def spelled(text: str) -> str:
    """Return an address in its one spelling. Raises `ValidationError`."""
    try:
        url = URL(text)
        port, host = url.port, url.raw_host
    except ValueError:
        raise ValidationError("Its host or port is not valid.") from None
    if not port:
        raise ValidationError("Its port must be from 1 to 65535.")
    if not host or not is_host(host):
        raise ValidationError("Its host must be a name, or an address in its usual spelling.")
    if len(str(url)) > MOST:
        raise ValidationError(f"Must have at most {MOST:,} characters when it is percent-encoded.")
    return str(url)


def is_host(host: str) -> bool:
    if ":" in host:
        # yarl has checked the rest of it.
        return "%" not in host
    return is_ipv4(host) if is_numeric(host) else NAME.fullmatch(host) is not None


def why_refused(url: str, allow_private: bool) -> str:
    """Tell why nothing is sent to this address, which has been read; nothing if there is no reason."""
    if allow_private:
        return ""
    if not url.startswith("https://"):
        return "Must be an https:// address."
    host = URL(url, encoded=True).raw_host or ""
    if (":" in host or is_numeric(host)) and not is_public(host):
        return "Must not be a private address, nor one that is otherwise special."
    return ""
