"""Files that are sent as they are: compressed, with an ETag, cached for a while."""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from fw.web.response import not_modified

STATIC: Final = Path(__file__).parent.parent / "static"
ASSETS: Final = {
    "docs.css": "text/css",
    "docs.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "widget.js": "text/javascript",
}
PIECE_BYTES: Final = 64 * 1024
REFUSED: Final = re.compile(r"q\s*=\s*0(\.0*)?")


class Asset(NamedTuple):
    packed: bytes
    media: str
    etag: str


def takes_gzip(accepted: str) -> bool:
    """Tell whether a client accepts gzip (RFC 9110, 12.5.3)."""
    for part in accepted.lower().split(","):
        coding, *parameters = (word.strip() for word in part.split(";"))
        if coding == "gzip":
            return not any(REFUSED.fullmatch(parameter) for parameter in parameters)
    return False


@cache
def pack(name: str) -> Asset:
    """Read a file that pages need, compressed by gzip."""
    packed = STATIC / "swagger-ui" / f"{name}.gz"
    content = packed.read_bytes() if packed.exists() else gzip.compress((STATIC / name).read_bytes(), mtime=0)
    return Asset(content, ASSETS[name], hashlib.blake2b(content, digest_size=12).hexdigest())


@cache
def unpack(name: str) -> bytes:
    """Return a file uncompressed, for clients that do not accept gzip."""
    return gzip.decompress(pack(name).packed)


async def send_asset(request: web.Request, name: str, seconds: int = 600) -> web.StreamResponse:
    """Send a file, by gzip if the client accepts it, or 304 if the client has it already."""
    found = await asyncio.to_thread(pack, name)
    is_packed = takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
    etag = f"{found.etag}-gzip" if is_packed else found.etag
    headers = {hdrs.ETAG: f'"{etag}"', hdrs.VARY: "Origin, Accept-Encoding", **cached(seconds)}
    if not_modified(request, etag):
        return web.Response(status=304, headers=headers)
    if is_packed:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    body = found.packed if is_packed else await asyncio.to_thread(unpack, name)
    return await send_in_pieces(request, body, {**headers, hdrs.CONTENT_TYPE: f"{found.media}; charset=utf-8"})


async def send_in_pieces(request: web.Request, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
    """Send a large body in pieces, so that a client that reads nothing holds one piece of memory and not a copy of it all."""
    if request.method == hdrs.METH_HEAD:
        return web.Response(body=body, headers=headers)
    response = web.StreamResponse(headers=headers)
    response.content_length = len(body)
    await response.prepare(request)
    whole = memoryview(body)
    for start in range(0, len(whole), PIECE_BYTES):
        await response.write(whole[start : start + PIECE_BYTES])
    await response.write_eof()
    return response


def cached(seconds: int) -> dict[str, str]:
    return {hdrs.CACHE_CONTROL: f"public, max-age={seconds}"}
