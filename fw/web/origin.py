"""The server's own origin: whether a request came to it by https, and whether a page of its own made the request."""

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web

from fw.config import CONFIG

ORIGIN_CHARACTERS: Final = 300
"""The longest `Origin` and `Host` that are looked at."""
USUAL_PORTS: Final[Mapping[str, str]] = {"http": ":80", "https": ":443"}


def is_secure(request: web.BaseRequest) -> bool:
    """Tell whether the client's part of the way is https: the public URL or the trusted proxies say so."""
    config = request.app[CONFIG] if isinstance(request, web.Request) else None
    if config is None:
        return False
    if config.public_url.startswith("https://"):
        return True
    if not config.trusted_proxies:
        return False
    said = [part for line in request.headers.getall(hdrs.X_FORWARDED_PROTO, []) for part in line.split(",")]
    return bool(said) and said[-min(config.trusted_proxies, len(said))].strip().lower() == "https"


def host_of(request: web.Request) -> str:
    """Return the host that the request was sent to, in lower case; "" if it is none that a browser would send."""
    # Not `request.host`: without the header that asks the system for its name, which may take seconds.
    host = request.headers.get(hdrs.HOST, "")
    return host.lower() if len(host) <= ORIGIN_CHARACTERS and host.isascii() else ""


def own_origin(request: web.Request) -> str:
    """Return the origin of the server as its clients know it."""
    return request.app[CONFIG].public_url or f"{'https' if is_secure(request) else 'http'}://{host_of(request)}"


def is_own(request: web.Request, origin: str) -> bool:
    """Tell whether an `Origin` is the server's own: its public URL, or the host that the request was sent to.

    Browsers send both in ASCII. Nothing is parsed: to encode an international name takes up to a third of a second.
    """
    if len(origin) > ORIGIN_CHARACTERS or not origin.isascii():
        return False
    if origin and origin == request.app[CONFIG].public_url:
        return True
    scheme, _, authority = origin.lower().partition("://")
    if scheme not in USUAL_PORTS or not authority:
        return False
    usual = USUAL_PORTS[scheme]
    is_same_host = authority.removesuffix(usual) == host_of(request).removesuffix(usual)
    return is_same_host and (scheme == "https" or not is_secure(request))
