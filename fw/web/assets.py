"""Files that are sent as they are: compressed, with an ETag, cached for a while or, by a path with their version, for good."""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import hdrs, web

from fw.web.header_lists import members_of
from fw.web.response import not_modified

STATIC: Final = Path(__file__).parent.parent / "static"
MEDIA: Final[Mapping[str, str]] = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
"""The files that are sent, by the ending of their names; no others are, such as licences."""
PACKED: Final = ".gz"
PIECE_BYTES: Final = 64 * 1024
PARAMETERS: Final = 2
REFUSED: Final = re.compile(r"q\s*=\s*0(\.0*)?")
FOR_GOOD: Final = 365 * 86400
"""The longest that caches are told to keep anything, in seconds (RFC 9111 has no end; a year is the custom)."""


class Asset(NamedTuple):
    packed: bytes
    media: str
    etag: str


def takes_gzip(request: web.Request) -> bool:
    """Tell whether a client accepts gzip (RFC 9110, 12.5.3)."""
    for member in members_of(request, hdrs.ACCEPT_ENCODING):
        coding, *parameters = (word.strip() for word in member.lower().split(";", PARAMETERS))
        if coding == "gzip":
            return not any(REFUSED.fullmatch(parameter) for parameter in parameters)
    return False


@cache
def files() -> Mapping[str, Path]:
    """Map the path below `static` of each file that is sent to the file, which may be stored compressed."""
    found = {path.relative_to(STATIC).as_posix().removesuffix(PACKED): path for path in sorted(STATIC.rglob("*"))}
    return {name: path for name, path in found.items() if Path(name).suffix in MEDIA}


@cache
def version() -> str:
    """Return what names the state of all files together. As a part of their paths it lets caches keep them for good."""
    state = hashlib.blake2b(digest_size=6)
    for name, path in files().items():
        state.update(name.encode() + b"\0" + path.read_bytes())
    return state.hexdigest()


def static_path(name: str) -> str:
    """Return the path by which pages load a file."""
    assert name in files(), name
    return f"/static/{version()}/{name}"


@cache
def pack(name: str) -> Asset:
    """Read a file, compressed by gzip."""
    path = files()[name]
    content = path.read_bytes() if path.suffix == PACKED else gzip.compress(path.read_bytes(), mtime=0)
    return Asset(content, MEDIA[Path(name).suffix], hashlib.blake2b(content, digest_size=12).hexdigest())


def pack_all() -> None:
    """Read and compress all files: some 15 ms, which a server spends before it starts."""
    for name in files():
        pack(name)


@cache
def unpack(name: str) -> bytes:
    """Return a file uncompressed, for clients that do not accept gzip."""
    return gzip.decompress(pack(name).packed)


async def send_asset(request: web.Request, name: str, caching: str) -> web.StreamResponse:
    """Send a file, by gzip if the client accepts it, or 304 if the client has it already."""
    found = pack(name)
    is_packed = takes_gzip(request)
    etag = f"{found.etag}-gzip" if is_packed else found.etag
    headers: dict[str, str] = {hdrs.ETAG: f'"{etag}"', hdrs.VARY: "Origin, Accept-Encoding", hdrs.CACHE_CONTROL: caching}
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


def kept_for(seconds: int) -> str:
    """Return the `Cache-Control` of what anyone may keep for so long."""
    return f"public, max-age={seconds}"
