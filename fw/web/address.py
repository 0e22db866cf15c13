"""Client addresses, as text: where a request comes from, behind proxies too, and how much of the address is stored."""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from aiohttp import hdrs, web

from fw.config import CONFIG, IpMode

WITH_PORT: Final = re.compile(r"^(?:([0-9.]+):[0-9]+|\[([0-9A-Fa-f:.]+)\](?::[0-9]+)?)$")
"""An address with a port, as some proxies write it (Azure's)."""
REMEMBERED: Final = 4096
"""How many parsed addresses are kept: the standard library takes some 10 us for one, a tenth of a whole request."""


def client_address(request: web.BaseRequest, trusted_proxies: int) -> str | None:
    """Return the peer's address or, behind N trusted proxies, the N-th from the right of all X-Forwarded-For lines.

    Entries further left, which a client can forge, are never read. If the entry is missing or no address, the peer's address
    is returned, and None on a Unix socket.
    """
    peer = parse(request.remote or "")
    if not trusted_proxies:
        return peer
    forwarded = [part for line in request.headers.getall(hdrs.X_FORWARDED_FOR, []) for part in line.split(",")]
    if len(forwarded) < trusted_proxies:
        return peer
    return parse(forwarded[-trusted_proxies]) or peer


@lru_cache(REMEMBERED)
def parse(text: str) -> str | None:
    """Return an address in its usual form; None if the text is none."""
    try:
        address = ip_address(WITH_PORT.sub(r"\1\2", text.strip()))
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # A zone ("%eth0") means something on another host only, and an IPv4-mapped address is an IPv4 address.
        return str(address.ipv4_mapped or IPv6Address(int(address)))
    return str(address)


@lru_cache(REMEMBERED)
def bucket(address: str | None) -> str:
    """Return what limits are counted by: an IPv4 address, or an IPv6 /64, the smallest network that one customer is given."""
    if address and ":" in address:
        return str(ip_network((address, 64), strict=False))
    return str(address)


def wide_network(bucket: str) -> str:
    """Return the IPv6 /48 that a bucket lies in; "" if it is an IPv4 address."""
    return str(ip_network(bucket).supernet(new_prefix=48)) if ":" in bucket else ""


def stored_part(address: str | None, mode: IpMode) -> str | None:
    """Return what is stored of an address with feedback: all of it, its network (/24, /48), or None."""
    if address is None or mode == "none":
        return None
    if mode == "full":
        return address
    return str(ip_network((address, 48 if ":" in address else 24), strict=False).network_address)


def caller_bucket(request: web.Request) -> str:
    """Return the caller's address as limits count it."""
    return bucket(client_address(request, request.app[CONFIG].trusted_proxies))
