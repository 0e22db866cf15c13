"""A mail server for tests: it keeps what it takes, and refuses what a test wants it to."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from ssl import SSLContext
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.waiting import until

SENDER = "FeedbackWave <mail@feedback.example>"


class Postbox:
    """What a mail server was given. `answers` are those to the next mails in place of 250."""

    def __init__(self) -> None:
        self.port = 0
        self.mails: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.answers: deque[str] = deque()
        self.attempts: list[str] = []
        self.was_tls: list[bool] = []
        self.hold: asyncio.Event | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a server that sends its mails here."""
        return {"smtp_url": f"smtp://127.0.0.1:{self.port}", "mail_from": SENDER}

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        self.attempts.append(address)
        self.was_tls.append(bool(server.transport and server.transport.get_extra_info("sslcontext")))
        if self.answers:
            return self.answers.popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.hold:
            await self.hold.wait()
        assert isinstance(envelope.content, bytes)
        found = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        self.mails.append(found)
        self.recipients += envelope.rcpt_tos
        return "250 OK"

    def to(self, address: str, subject: str = "") -> list[EmailMessage]:
        """Return the mails to an address whose subject has a text in it."""
        return [
            mail
            for mail, recipient in zip(self.mails, self.recipients, strict=True)
            if recipient.casefold() == address.casefold() and subject in mail["Subject"]
        ]

    async def mail(self, address: str, subject: str = "", count: int = 1) -> EmailMessage:
        """Wait for the so-manieth mail to an address with a text in its subject."""

        async def found() -> EmailMessage | None:
            mails = self.to(address, subject)
            return mails[count - 1] if len(mails) >= count else None

        seen = [(recipient, str(mail["Subject"])) for mail, recipient in zip(self.mails, self.recipients, strict=True)]
        mail = await until(found, f"mail {count} to {address} about {subject!r}; there were {seen}")
        assert mail is not None
        return mail


@asynccontextmanager
async def postbox(*, host: str = "127.0.0.1", ssl: SSLContext | None = None, **options: Any) -> AsyncIterator[Postbox]:
    """Run a mail server, with these options of aiosmtpd's."""
    options = {"enable_SMTPUTF8": True, **options}
    box = Postbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, loop=loop, **options), host, 0, ssl=ssl)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()


def plain(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def html(mail: EmailMessage) -> str:
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def link(mail: EmailMessage, page: str) -> str:
    """Return the link to a page in a mail, which both parts have."""
    found = re.search(rf"https?://\S+/{page}[#?]token=\S+", plain(mail))
    assert found, plain(mail)
    assert f'href="{found[0]}"' in html(mail)
    return found[0]


def token(mail: EmailMessage, page: str) -> str:
    return link(mail, page).partition("token=")[2]
