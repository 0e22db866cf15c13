"""Files that are sent as they are: packed, with a tag, cached for a while."""

import gzip
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import hdrs

STATIC: Final = Path(__file__).parent.parent / "static"
ASSETS: Final = {
    "docs.css": "text/css",
    "docs.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}
REFUSED: Final = re.compile(r"q\s*=\s*0(\.0*)?")


class Asset(NamedTuple):
    packed: bytes
    media: str
    etag: str


def takes_gzip(accepted: str) -> bool:
    """Tell whether a client takes gzip (RFC 9110, 12.5.3)."""
    for part in accepted.lower().split(","):
        coding, *parameters = (word.strip() for word in part.split(";"))
        if coding == "gzip":
            return not any(REFUSED.fullmatch(parameter) for parameter in parameters)
    return False


@cache
def pack(name: str) -> Asset:
    """Read a file that pages need, packed as it is sent."""
    packed = STATIC / "swagger-ui" / f"{name}.gz"
    content = packed.read_bytes() if packed.exists() else gzip.compress((STATIC / name).read_bytes(), mtime=0)
    return Asset(content, ASSETS[name], hashlib.blake2b(content, digest_size=12).hexdigest())


def cached(seconds: int) -> dict[str, str]:
    return {hdrs.CACHE_CONTROL: f"public, max-age={seconds}"}
