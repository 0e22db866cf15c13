"""Connections that answers promise to keep: a proxy gives them to other visitors."""

import asyncio
from itertools import product

from fw.server import Runner

METHODS = ("GET", "POST", "HEAD")
PATHS = ("/health", "/nothing", "/api/feedback/nobody", "/api/auth/login", "/api/feedback/live")
SIZES = (0, 10, 60_000, 70_000, 110_000, 200_000, 1_000_000)
FIELDS = ("Content-Length: {size}", "Transfer-Encoding: chunked")
UPGRADES = ("", "Connection: Upgrade\r\nUpgrade: websocket\r\n")
PAUSES = (0.0, 0.1)
"""Between a head and its body: many requests are answered without it."""


def body_of(size: int, field: str) -> bytes:
    if "chunked" not in field:
        return b"a" * size
    return b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"a" * size) if size else b"0\r\n\r\n"


async def read_answer(reader: asyncio.StreamReader, method: str) -> bytes:
    """Return the head of an answer, in lower case, and leave its body behind."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)).lower()
    if method != "HEAD":
        await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    return head


async def follow(runner: Runner, method: str, path: str, size: int, field: str, upgrade: str, pause: float) -> str:
    """Send a request and another one behind its answer. Returns what became of that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
    try:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{upgrade}{field.format(size=size)}\r\n\r\n".encode())
        await asyncio.sleep(pause)
        writer.write(body_of(size, field))
        if b"\r\nconnection: close" in await read_answer(reader, method):
            return "closed"
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        return "kept" if b" 200 " in await read_answer(reader, "GET") else "lost"
    except (ConnectionError, asyncio.IncompleteReadError):
        return "lost"
    finally:
        writer.close()


async def test_the_next_request_is_answered_unless_the_answer_says_that_the_connection_ends(runner: Runner) -> None:
    few = asyncio.Semaphore(16)
    ends: dict[tuple[str, str, int, str, str, float], str] = {}

    async def try_out(kind: tuple[str, str, int, str, str, float]) -> None:
        async with few:
            ends[kind] = await follow(runner, *kind)

    await asyncio.gather(*map(try_out, product(METHODS, PATHS, SIZES, FIELDS, UPGRADES, PAUSES)))
    assert [kind for kind, end in ends.items() if end == "lost"] == []
    kept = {kind for kind, end in ends.items() if end == "kept"}
    # What is usual is kept.
    assert kept >= set(product(("GET", "HEAD"), ("/health", "/nothing"), SIZES[:4], FIELDS[:1], UPGRADES[:1], PAUSES))
