"""What can be wrong between `fw tail` and its server, in words."""

import errno
import os
import ssl
from collections.abc import Mapping
from http import client as http_client
from typing import Final

import aiohttp
from aiohttp import hdrs
from yarl import URL

from fw.config import ConfigError
from fw.inbox.websocket import Close

CLOSED: Final[Mapping[int, str]] = {
    Close.RESTART: "it restarts",
    Close.FORBIDDEN_MESSAGE: "it was sent what it does not take",
    Close.TOO_SLOW: "this reader is too slow",
    Close.TOO_MANY: "this account has as many readers as it may",
    aiohttp.WSCloseCode.MESSAGE_TOO_BIG: "it sent more at once than is taken here",
}
PASSING: Final = (408, 425, 429)
"""Statuses after which another attempt may help, as after those of 500 and above."""
FINAL: Final[Mapping[int, str]] = {
    403: "this token may not follow an inbox",
    404: "there is no FeedbackWave at that URL",
    422: "it does not take this cursor",
    426: "something on the way there does not pass WebSockets on",
}
UNUSABLE: Final = (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, UnicodeError)
"""Raised for a URL that only a connection shows to be wrong: the names of hosts have rules of their own."""


def closed(code: int | None) -> str:
    """Return in words why a server has closed a connection."""
    return f"closed the connection: {CLOSED.get(code or 0, f'code {code}')}"


def reason(error: Exception) -> str:
    """Return in a few words why there is no connection."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"answers {in_words(error.status)}"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, TimeoutError):
        return "does not answer: nothing came in time"
    if isinstance(cause, OSError) and cause.errno in errno.errorcode and not isinstance(cause, ssl.SSLError):
        # The message of asyncio would name the address again.
        return f"does not answer: {os.strerror(cause.errno or 0).lower()}"
    return f"does not answer: {getattr(cause, 'strerror', None) or str(cause) or type(cause).__name__}"


def refusal(url: str, error: aiohttp.WSServerHandshakeError) -> ConfigError | None:
    """Return the error to end with if a server has refused the upgrade for good; None if another attempt may help."""
    if error.status in PASSING or error.status >= 500:
        return None
    why = FINAL.get(error.status, "that is no live channel of FeedbackWave")
    return ConfigError(f"{url} answers {in_words(error.status)}: {why}")


def in_words(status: int) -> str:
    return f"{status} {http_client.responses.get(status, '')}".rstrip()


def redirected(url: URL, response: aiohttp.ClientResponse) -> ConfigError:
    """Return the error to end with: the token is only for the server that was asked for."""
    place = response.headers.get(hdrs.LOCATION, "nowhere")
    return ConfigError(f"{url.origin()} redirects to {place}: give --url as it really is")


def server_url(text: str) -> str:
    """Return the URL of a server without its last slash. Raises `ConfigError` if it is not one."""
    try:
        url = URL(text)
    except ValueError:
        raise no_url(text) from None
    has_more = url.user or url.password or url.query_string or url.fragment
    if url.scheme not in ("http", "https") or not url.host or has_more or not text.isprintable() or " " in text:
        raise no_url(text)
    return text.rstrip("/")


def no_url(text: str) -> ConfigError:
    return ConfigError(f"--url: {text!r} is not the URL of a server (http://127.0.0.1:8080)")
