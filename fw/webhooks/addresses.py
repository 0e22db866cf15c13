"""Which addresses anybody can reach: the only ones that a webhook is sent to."""

import re
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

# Listed here, and not left to `is_global`: that lets multicast and embedded addresses pass, and differs between Pythons.
SPECIAL_IPV4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # behind a carrier's NAT; some clouds have their metadata here
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's host, which looks like a public address
            "169.254.0.0/16",  # link-local; most clouds have their metadata here
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocols
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
"""IANA's special-purpose registry (RFC 6890), multicast, and what clouds have made special."""
UNICAST: Final = IPv6Network("2000::/3")
"""All that IANA has given out for IPv6. Loopback, private, link-local, multicast, IPv4-mapped and -compatible are outside."""
SPECIAL_IPV6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols, among them Teredo
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which leads to the IPv4 address in it
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
NAT64: Final = IPv6Network("64:ff9b::/96")
"""The IPv4 internet as hosts see it that have IPv6 alone (RFC 6052)."""
NUMERIC: Final = re.compile(r"[0-9]+|0[Xx][0-9A-Fa-f]*")


def is_public(address: str) -> bool:
    """Tell whether this is an address that anybody can reach."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found in NAT64:
            return is_public(str(IPv4Address(found.packed[-4:])))
        return found in UNICAST and not found.scope_id and not is_in(found, SPECIAL_IPV6)
    return not is_in(found, SPECIAL_IPV4)


def is_in(address: IPv4Address | IPv6Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)


def is_numeric(host: str) -> bool:
    """Tell whether a host may be taken for an IPv4 address in some spelling: its last label is a number (URL Standard, 3.5)."""
    return NUMERIC.fullmatch(host.removesuffix(".").rpartition(".")[2]) is not None


def is_ipv4(host: str) -> bool:
    """Tell whether a host is an IPv4 address in the usual spelling, four decimal numbers."""
    try:
        return socket.inet_ntoa(socket.inet_pton(socket.AF_INET, host)) == host
    except OSError:
        return False
