"""The README's tour and snippets, pasted."""

import asyncio
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession, web
from yarl import URL

from tests.support.browsing import browse, needs_browser
from tests.support.processes import fw
from tests.support.snippets import snippet
from tests.support.waiting import until

pytestmark = pytest.mark.slow


def server(folder: Path, database_url: str, **settings: str) -> Any:
    return fw("serve", folder=folder, DATABASE_URL=database_url, FW_JWT_SECRET="s" * 32, FW_RATE_LIMITS="off", **settings)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour is told with curl, which is not installed")
async def test_the_tour_works_when_it_is_pasted(tmp_path: Path, database_url: str) -> None:
    async with server(tmp_path, database_url) as running:
        script = f"set -eu\nAPI={await running.url()}\n{snippet('tour')}"
        done = await asyncio.to_thread(subprocess.run, ["bash", "-c", script], capture_output=True, text=True, check=False)
        await running.stop()
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"nps":100.0' in done.stdout
    assert '"event":"deleted"' in done.stdout


async def submit_to_the_newest(sql: asyncpg.Connection, url: str, message: str) -> None:
    name = await sql.fetchval("SELECT username FROM users ORDER BY id DESC LIMIT 1")
    async with ClientSession() as http, http.post(f"{url}/api/feedback/{name}", json={"message": message}) as answer:
        assert answer.status == 201, await answer.text()


TOLD = ["there is Well done!", "created And fast.", "created After a restart."]


async def test_the_python_client_loses_nothing_through_a_restart(
    tmp_path: Path, database_url: str, sql: asyncpg.Connection
) -> None:
    script, log = tmp_path / "client.py", tmp_path / "client.log"
    script.write_text(snippet("python"))

    async def told(lines: int) -> list[str]:
        async def enough() -> list[str]:
            found = log.read_text().splitlines()
            return found if len(found) >= lines else []

        return await until(enough, f"{lines} lines; there are {log.read_text()!r}", seconds=30)

    async with server(tmp_path, database_url) as first:
        url = await first.url()
        with log.open("wb") as output:
            client = await asyncio.create_subprocess_exec(
                *(sys.executable, "-u", str(script)), env={**os.environ, "API": url}, stdout=output, stderr=output
            )
        try:
            await told(2)
            await first.stop()
            async with server(tmp_path, database_url, PORT=str(URL(url).port)) as second:
                await submit_to_the_newest(sql, await second.url(), "After a restart.")
                assert await told(3) == TOLD
                await second.stop()
        finally:
            with suppress(ProcessLookupError):
                client.kill()
            await client.wait()


@needs_browser
async def test_the_browser_client_loses_nothing_through_a_restart(
    tmp_path: Path, database_url: str, sql: asyncpg.Connection, aiohttp_server: Any
) -> None:
    page_text = ""

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=page_text, content_type="text/html")

    site = web.Application()
    site.router.add_get("/", show)
    origin = str((await aiohttp_server(site)).make_url("")).rstrip("/")
    told: list[str] = []

    async def told_all(count: int) -> bool:
        return len(told) >= count

    async with server(tmp_path, database_url, FW_CORS_ORIGINS=origin) as first, browse(is_strict=False) as page:
        url = await first.url()
        code = snippet("javascript").replace("http://127.0.0.1:8080", url)
        page_text = f'<!doctype html><link rel="icon" href="data:,"><script type="module">{code}</script>'
        page.on("console", lambda message: told.append(message.text) if message.type == "log" else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        await page.goto(origin)
        await until(lambda: told_all(2), f"two lines; there are {told}", seconds=30)
        await first.stop()
        async with server(tmp_path, database_url, FW_CORS_ORIGINS=origin, PORT=str(URL(url).port)) as second:
            await submit_to_the_newest(sql, await second.url(), "After a restart.")
            await until(lambda: told_all(3), f"three lines; there are {told}", seconds=30)
            await second.stop()
    assert told == TOLD
