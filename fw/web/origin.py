"""The server's own origin: whether a request came to it by https, and whether a page of its own made the request."""

from typing import Final

from aiohttp import hdrs, web
from yarl import URL

from fw.config import CONFIG

ORIGIN_CHARACTERS: Final = 300
"""The longest `Origin` that is looked at."""


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


def own_origin(request: web.Request) -> str:
    """Return the origin of the server as its clients know it."""
    return request.app[CONFIG].public_url or f"{'https' if is_secure(request) else 'http'}://{request.host}"


def is_own(request: web.Request, origin: str) -> bool:
    """Tell whether an `Origin` is the server's own: its public URL, or the host that the request was sent to."""
    if len(origin) > ORIGIN_CHARACTERS:
        return False
    if origin and origin == request.app[CONFIG].public_url:
        return True
    try:
        page = URL(origin)
        is_same_host = page.host is not None and page.authority == URL(f"{page.scheme}://{request.host}").authority
    except ValueError:
        return False
    return is_same_host and (page.scheme == "https" or not is_secure(request))
