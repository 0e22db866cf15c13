"""Letters: what mails say, and how they are put into MIME.

Whatever people wrote is text in both parts. Headers are made by the standard library, which lets no line break through, but
decodes encoded words (RFC 2047) in what it is given: people's text must have none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8, Policy
from email.utils import format_datetime, parseaddr
from typing import Any, Final

from email_validator import EmailNotValidError

from fw.web.email_address import read_address
from fw.web.templates import fill

SUBJECT: Final = 120
"""The most characters of a subject."""
EXCERPT: Final = 300
"""The most characters of an item in a digest."""
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
"""Control characters but tabs and line feeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What is mailed: `name` is that of its templates; `link` is where it leads, `unsubscribe` how such letters are ended."""

    name: str
    to: str
    subject: str
    link: str
    unsubscribe: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def texts(self) -> tuple[str, str]:
        """The letter in plain text, and in HTML."""
        values = {**self.values, "subject": self.subject, "link": self.link, "unsubscribe": self.unsubscribe}
        return fill(f"mail/{self.name}.txt", **values), fill(f"mail/{self.name}.html", **values)


WORD: Final = re.compile(r"=\?.*\?=")
"""An encoded word."""


class WholeHeader(UnstructuredHeader, BaseHeader):
    """A header that programs read: it is not folded, and no word of it encoded (RFC 2047, 5)."""

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


HEADERS: Final = HeaderRegistry()
HEADERS.map_to_type("list-unsubscribe", WholeHeader)
HEADERS.map_to_type("message-id", WholeHeader)


class NoAddress(Exception):
    """Mail cannot be sent to an address."""


def address_of(text: str) -> Address:
    """Return an address, its domain in ASCII as mail servers know it. Raises `NoAddress`."""
    name, plain = parseaddr(text) if "<" in text else ("", text)
    try:
        found = read_address(plain)
        if WORD.search(found.local_part):
            raise NoAddress
        return Address(name, found.local_part, found.ascii_domain)
    except (EmailNotValidError, ValueError) as error:
        raise NoAddress from error


def compose(letter: Letter, sender: Address, message_id: str) -> EmailMessage:
    """Return the mail of a letter. Raises `NoAddress`."""
    to = address_of(letter.to)
    # Seven bits are taken by every server; another alphabet before the "@" has to be asked for.
    policy = (SMTP if to.addr_spec.isascii() else SMTPUTF8).clone(cte_type="7bit", header_factory=HEADERS)
    message = EmailMessage(policy)
    message["From"] = sender
    message["To"] = to
    message["Subject"] = in_a_line(letter.subject, SUBJECT).replace("=?", "= ?")
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{message_id}@{sender.domain}>"
    # RFC 3834: nobody's absence is to be answered to it.
    message["Auto-Submitted"] = "auto-generated"
    if letter.unsubscribe:
        message["List-Unsubscribe"] = f"<{letter.unsubscribe}>"
        if letter.unsubscribe.startswith("https://"):
            # RFC 8058: the mail program asks it itself, and by https alone.
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    plain, html = letter.texts
    message.set_content(plain, charset="utf-8")
    message.add_alternative(html, subtype="html", charset="utf-8")
    return message


def clean(text: str) -> str:
    """Return what a person wrote, without characters that would steer a terminal or a mail program."""
    return CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def in_a_line(text: str, most: int) -> str:
    """Return a text as one line of so many characters at most."""
    line = " ".join(CONTROLS.sub(" ", text).split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def excerpt(text: str) -> str:
    return in_a_line(text, EXCERPT)
