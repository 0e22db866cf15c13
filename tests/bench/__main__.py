"""Submissions and lists a second, by wrk, as ratios to a bare aiohttp handler that returns the same bytes.

The candidates take turns in short rounds, and the median of the ratios counts: the machine's speed drifts, their ratio less.
"""

import argparse
import asyncio
import json
import re
import shutil
import socket
import statistics
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import aiohttp

from tests.people import PASSWORD
from tests.processes import fw
from tests.waiting import until

BODY = {
    "message": "The search is quick, but I would like to see dates in my own time zone.",
    "metadata": {"page": "/inbox"},
}
ITEMS = 10_000
WARM_UP_SECONDS = 2


class Load(NamedTuple):
    """What wrk measured: answers a second, and the 99th percentile of their time in milliseconds."""

    rate: float
    p99: float


async def wrk(url: str, connections: int, seconds: int, script: Path) -> Load:
    """Load a URL with as many connections. Raises `RuntimeError` where an answer is not a success."""
    command = ["wrk", f"-t{min(2, connections)}", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), url]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output = (await process.communicate())[0].decode()
    if process.returncode or "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    rate = re.search(r"Requests/sec:\s+([0-9.]+)", output)
    p99 = re.search(r"99%\s+([0-9.]+)(us|ms|s)", output)
    assert rate, output
    assert p99, output
    return Load(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]])


def write_script(path: Path, *, method: str, token: str = "") -> Path:
    lines = [f'wrk.method = "{method}"', 'wrk.headers["Content-Type"] = "application/json"']
    if method == "POST":
        lines.append(f"wrk.body = [[{json.dumps(BODY)}]]")
    if token:
        lines.append(f'wrk.headers["Authorization"] = "Bearer {token}"')
    path.write_text("\n".join(lines))
    return path


async def fill(http: aiohttp.ClientSession, url: str) -> None:
    """Submit what the list is read from."""

    async def submit_some() -> None:
        for _ in range(ITEMS // 50):
            async with http.post(f"{url}/api/feedback/bench", json=BODY) as response:
                assert response.status == 201, await response.text()

    await asyncio.gather(*(submit_some() for _ in range(50)))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def start_bare(stack: AsyncExitStack, folder: Path, http: aiohttp.ClientSession, created: str, page: bytes) -> str:
    """Start the bare handlers, to answer with these bytes."""
    port = free_port()
    (folder / "page.json").write_bytes(page)
    arguments = ["-m", "tests.bench.peers.bare", str(port), created, str(folder / "page.json")]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments)

    async def stop() -> None:
        process.terminate()
        await process.wait()

    stack.push_async_callback(stop)
    url = f"http://127.0.0.1:{port}"

    async def answers() -> bool:
        try:
            async with http.get(f"{url}/api/feedback") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    await until(answers, "the bare handlers")
    return url


async def compare(urls: dict[str, str], path: str, script: Path, options: argparse.Namespace) -> None:
    """Load the candidates in turn, and print what each did and the ratio to the bare one."""
    for connections in options.connections:
        loads: dict[str, list[Load]] = {name: [] for name in urls}
        for url in urls.values():
            await wrk(url + path, connections, WARM_UP_SECONDS, script)
        for _ in range(options.rounds):
            for name, url in urls.items():
                loads[name].append(await wrk(url + path, connections, options.seconds, script))
        for name, found in loads.items():
            rate, p99 = statistics.median(load.rate for load in found), statistics.median(load.p99 for load in found)
            ratio = statistics.median(a.rate / b.rate for a, b in zip(found, loads["bare"], strict=True))
            print(f"{connections:>12} {name:<6} {rate:>10,.0f}/s  p99 {p99:>8.2f} ms  {ratio:5.2f} of bare", flush=True)


async def main(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The user that PostgreSQL runs as, where this is root, has to come through.
        folder.chmod(0o711)
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            settings = {"FW_RATE_LIMITS": "off", "FW_LOG_LEVEL": "WARNING"}
            server = await stack.enter_async_context(fw("serve", folder=folder, **settings))
            ours = await server.url()
            asked = {"email": "bench@example.com", "username": "bench", "password": PASSWORD}
            async with http.post(f"{ours}/api/auth/register", json=asked) as response:
                token = (await response.json())["access_token"]
            await fill(http, ours)
            async with http.post(f"{ours}/api/feedback/bench", json=BODY) as response:
                created = await response.text()
            async with http.get(f"{ours}/api/feedback", headers={"Authorization": f"Bearer {token}"}) as response:
                page = await response.read()
            urls = {"bare": await start_bare(stack, folder, http, created, page), "fw": ours}
            print(f"GET /api/feedback, 20 of {ITEMS:,} items; connections:")
            await compare(urls, "/api/feedback", write_script(folder / "get.lua", method="GET", token=token), options)
            print("POST /api/feedback/{username}; connections:")
            await compare(urls, "/api/feedback/bench", write_script(folder / "post.lua", method="POST"), options)
            await server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="how long each load lasts (5)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each candidate has its turn (3)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64, 256])
    if shutil.which("wrk") is None:
        sys.exit("bench: wrk is not installed (Debian: apt-get install wrk)")
    asyncio.run(main(parser.parse_args()))
