"""Heads of requests as the parser gives them: how long they are, and what must not come further."""

from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

from aiohttp import hdrs
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from yarl import URL

DEEPEST: Final = 20
"""How many slashes a path may have; none of ours has half as many."""
NOWHERE: Final = URL("/-")
"""The target in the place of one that no route has."""
KEPT_BYTES: Final = 8 * 1024
"""How long the head of a request may be whose connection is kept: the parser keeps it until the next one."""
KEPT_FIELDS: Final = 64
"""How many fields such a head may have: each takes some 400 bytes, however short it is."""

TAKEN_BYTES: Final = 96 * 1024
"""How long a body that nobody reads may be if a request may follow. With a head it is less than is parsed of a request."""
TAKEN_DIGITS: Final = 6


def length(fields: Iterable[tuple[bytes, bytes]]) -> int:
    """Return how many bytes the fields of a head have, names and values."""
    return sum(map(len, chain.from_iterable(fields)))


def head_size(message: RawRequestMessage) -> int:
    """Return how long a head is, without what stands between its parts."""
    return len(message.path) + length(message.raw_headers)


def plain(message: RawRequestMessage, body: StreamReader, size: int) -> RawRequestMessage:
    """Return a request's head with a target that takes little time to look at, and without keep-alive if it is its last.

    aiohttp decodes the host of an absolute target (RFC 9112, 3.2.2), which takes 0.4 s for 8 kB of punycode; nobody here asks
    for it. Its router takes 18 ms for a path of 8,000 slashes.
    """
    url = message.url.relative() if message.url.absolute else message.url
    if url.raw_path.count("/") > DEEPEST:
        url = NOWHERE
    if url is not message.url:
        message = message._replace(url=url)
    return message._replace(should_close=True) if is_last(message, body, size) else message


def is_last(message: RawRequestMessage, body: StreamReader, size: int) -> bool:
    """Tell whether no other request may follow: the parser would keep too much of this one until then, or loses what follows.
    `size` is the head's at most.

    A body in chunks may have trailers, which it keeps too, and shows nobody. What stands behind a request for an upgrade is for
    aiohttp of another protocol, also if it is declined; if it does not know the protocol, it is lost.
    """
    is_long = len(message.raw_headers) > KEPT_FIELDS or (size > KEPT_BYTES and head_size(message) > KEPT_BYTES)
    is_whole = body is not EMPTY_PAYLOAD and body.is_eof()
    return is_long or message.chunked or message.upgrade or not (is_whole or is_taken(message))


def is_taken(message: RawRequestMessage) -> bool:
    """Tell whether a body of known length is parsed to its end, if nobody reads it."""
    said = message.headers.get(hdrs.CONTENT_LENGTH, "0")
    # aiohttp has a body of 2^64 - 1 bytes for an empty one; the parser waits for it.
    return len(said) <= TAKEN_DIGITS and int(said) <= TAKEN_BYTES


def least_size(request: tuple[Any, StreamReader]) -> int:
    """Return at least how many bytes a whole request had, without what stands between its parts."""
    message, body = request
    # The connection ends with what could not be parsed.
    head = head_size(message) if isinstance(message, RawRequestMessage) else 0
    return head + body.total_bytes
