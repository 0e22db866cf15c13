"""How an attempt to send a webhook ended, in words for its owner: without what only the operators of this server may know."""

from typing import Final, NamedTuple

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientOSError,
    ClientResponseError,
    ClientSSLError,
    ServerDisconnectedError,
)

from fw.webhooks.resolver import NotPublic, NotResolved


class Outcome(NamedTuple):
    """The status of an answer, if there was one, and why the attempt failed, if it did."""

    status: int | None
    error: str
    is_costly: bool = False
    """Whether the receiver's TLS took much of a processor's time."""


TOO_SLOW_TLS: Final = Outcome(None, "its TLS handshake takes too long", is_costly=True)
LOST: Final = Outcome(None, "the process that sends webhooks ended")


def answered(status: int) -> Outcome:
    """Return the outcome of an attempt that was answered."""
    if 200 <= status < 300:
        return Outcome(status, "")
    return Outcome(status, f"the answer was {status}" + (": redirects are not followed" if 300 <= status < 400 else ""))


def failed(error: Exception) -> Outcome:
    """Return the outcome of an attempt that had no answer."""
    cause = error.os_error if isinstance(error, ClientConnectorError) else error
    for kinds, words in WORDS:
        if isinstance(error, kinds) or isinstance(cause, kinds):
            return Outcome(None, words)
    return Outcome(None, "the connection failed")


WORDS: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...]] = (
    (NotPublic, "the address is not public"),
    (NotResolved, "the name was not resolved in time"),
    (TimeoutError, "timed out"),
    (ClientConnectorDNSError, "the name has no address"),
    (ClientConnectorCertificateError, "certificate is not valid"),
    (ClientSSLError, "TLS failed"),
    (ConnectionRefusedError, "connection refused"),
    (ClientConnectorError, "the address cannot be reached"),
    ((ServerDisconnectedError, ClientOSError), "the connection was closed without an answer"),
    (ClientResponseError, "the answer is not HTTP"),
)
"""What can go wrong, the special before the general."""
