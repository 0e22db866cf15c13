"""Hands mails to the mail server that FW_SMTP_URL names."""

import asyncio
from contextlib import suppress
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib
from aiosmtplib import SMTPException, SMTPResponseException

STEP_SECONDS: Final = 15.0
"""How long the server may take for each answer."""
TAKE_SECONDS: Final = 300.0
"""How long it may take to take a mail that it has: it may look into it first, and who does not wait sends it again. RFC 5321
(4.5.3.2.6) says 10 minutes.
"""
SEND_SECONDS: Final = TAKE_SECONDS + 2 * STEP_SECONDS
"""How long it may take for a whole mail."""
QUIT_SECONDS: Final = 2.0
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Unsent(Exception):
    """The server did not take a mail. `is_final` tells that it never will."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.is_final = reason, is_final


class MailServer:
    """A mail server, by its URL, and the address that mails come from."""

    def __init__(self, url: str, sender: Address) -> None:
        self.sender = sender
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._is_tls = parts.scheme == "smtps"
        self._port = parts.port or (465 if self._is_tls else 587)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")

    async def send(self, message: EmailMessage, recipient: Address) -> None:
        """Send a mail. Raises `Unsent`; whether the server has it nevertheless cannot be known if the connection broke."""
        raw = message.as_bytes()
        client = aiosmtplib.SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._is_tls,
            start_tls=False,
            timeout=STEP_SECONDS,
            # Else the name of this machine is looked up, which may take long.
            local_hostname=self.sender.domain,
        )
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._greet(client)
                await deliver(client, raw, self.sender.addr_spec, recipient.addr_spec)
            # The mail is taken: nothing that fails from here on may have it sent again.
            with suppress(SMTPException, OSError, TimeoutError):
                await client.quit(timeout=QUIT_SECONDS)
        except TimeoutError as error:
            raise Unsent("timeout") from error
        except (SMTPException, OSError) as error:
            raise Unsent("network") from error
        finally:
            client.close()

    async def _greet(self, client: aiosmtplib.SMTP) -> None:
        """Connect and log in. What is refused here is no fault of the mail, so it may be mended."""
        try:
            await client.connect()
            await client.ehlo()
            is_tls = self._is_tls
            if not is_tls and client.supports_extension("starttls"):
                await client.starttls()
                await client.ehlo()
                is_tls = True
            if self._user:
                if not is_tls and self._host not in LOOPBACK:
                    raise Unsent("no TLS for the password")
                await client.login(self._user, self._password)
        except SMTPResponseException as error:
            raise Unsent("login") from error


async def deliver(client: aiosmtplib.SMTP, message: bytes, sender: str, recipient: str) -> None:
    """Hand a mail over. Raises `Unsent`, which is final after an answer of 5xx (RFC 5321, 4.2.1)."""
    options = [] if recipient.isascii() else ["SMTPUTF8"]
    if options and not client.supports_extension("smtputf8"):
        raise Unsent("address", is_final=True)
    try:
        await client.mail(sender, options=options, encoding="utf-8" if options else "ascii")
        await client.rcpt(recipient, encoding="utf-8" if options else "ascii")
        await client.data(message, timeout=TAKE_SECONDS)
    except SMTPResponseException as error:
        raise refusal(error) from error
    except ValueError as error:
        raise Unsent("address", is_final=True) from error


def refusal(error: SMTPResponseException) -> Unsent:
    is_final = 500 <= error.code <= 599
    return Unsent("refused" if is_final else "busy", is_final=is_final)
