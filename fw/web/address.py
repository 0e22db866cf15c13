"""Client addresses: whose request it is, behind proxies too, and how much of it is kept. They are text, as usually written."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from aiohttp import hdrs, web

from fw.config import CONFIG, IpMode

REMEMBERED: Final = 4096
"""Addresses whose reading is kept: the standard library takes some 10 us for one, a tenth of a whole request."""


def client_address(request: web.BaseRequest, trusted_proxies: int) -> str | None:
    """Return the peer's address or, behind proxies, the N-th from the right of all X-Forwarded-For lines.

    What a client puts further left is never read; junk and missing entries fall back to the peer. None on a Unix socket.
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
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # A zone ("%eth0") is another host's own business, and a v4 address in v6 clothes is a v4 address.
        return str(address.ipv4_mapped or IPv6Address(int(address)))
    return str(address)


@lru_cache(REMEMBERED)
def bucket(address: str | None) -> str:
    """Name what limits are counted by: an IPv4 address, or an IPv6 /64, the least that one customer is given."""
    if address and ":" in address:
        return str(ip_network((address, 64), strict=False))
    return str(address)


@lru_cache(REMEMBERED)
def kept(address: str | None, mode: IpMode) -> str | None:
    """Return what is stored with feedback: all of the address, its network (/24, /48), or nothing."""
    if address is None or mode == "none":
        return None
    if mode == "full":
        return address
    return str(ip_network((address, 48 if ":" in address else 24), strict=False).network_address)


def caller_bucket(request: web.Request) -> str:
    """Name the caller's address as limits count it."""
    return bucket(client_address(request, request.app[CONFIG].trusted_proxies))
