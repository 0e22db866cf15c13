"""Mails over real processes, one of which is killed in the middle."""

import asyncio
import signal
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from tests.support.people import PASSWORD
from tests.support.postbox import SENDER, Postbox, token
from tests.support.processes import SETTINGS, fw
from tests.support.waiting import until

pytestmark = pytest.mark.slow


async def register(http: aiohttp.ClientSession, url: str) -> str:
    """Register somebody, and return the address."""
    name = f"u{uuid4().hex[:12]}"
    asked = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
    async with http.post(f"{url}/api/auth/register", json=asked) as response:
        assert response.status == 201, await response.text()
    return asked["email"]


async def test_the_mails_of_a_killed_process_are_sent_by_another(
    database_url: str, tmp_path: Path, box: Postbox, sql: asyncpg.Connection
) -> None:
    mails = {"FW_SMTP_URL": f"smtp://127.0.0.1:{box.port}", "FW_MAIL_FROM": SENDER}
    settings = {**SETTINGS, **mails, "DATABASE_URL": database_url}
    box.hold = asyncio.Event()
    async with aiohttp.ClientSession() as http:
        async with fw("serve", folder=tmp_path, **settings) as first:
            url = await first.url()
            addresses = [await register(http, url) for _ in range(12)]
            # As many as are sent at the same time have been handed over, and none has been acknowledged.
            await until(lambda: asyncio.sleep(0, len(box.attempts) == 8), "mails to be under way")
            await first.stop(signal.SIGKILL)
        job_ids = {row["id"] for row in await sql.fetch("SELECT id FROM jobs")}
        assert len(job_ids) == 12
        async with fw("serve", folder=tmp_path, **settings) as second:
            url = await second.url()
            # As if the leases of the killed process were over.
            await sql.execute("UPDATE lanes SET leased_until = now()")
            box.hold.set()
            for address in addresses:
                await box.mail(address)
            await until(lambda: sql.fetchval("SELECT NOT EXISTS (SELECT FROM jobs)"), "the outbox to be empty")
            # What was not acknowledged was sent again, as the same mail.
            assert {mail["Message-ID"] for mail in box.mails} == {f"<{job_id}@feedback.example>" for job_id in job_ids}
            for address in addresses:
                first_token, *others = {token(mail, "verify") for mail in box.to(address)}
                assert not others
                async with http.post(f"{url}/api/auth/verify", json={"token": first_token}) as response:
                    assert response.status == 204
            assert await second.stop() == 0


async def test_the_embedded_database_logs_links_that_can_be_clicked(tmp_path: Path) -> None:
    async with fw("serve", folder=tmp_path, FW_LOG_FORMAT="text") as server, aiohttp.ClientSession() as http:
        url = await server.url()
        await register(http, url)
        found = await until(lambda: asyncio.sleep(0, [word for word in server.output.split() if "/verify#token=" in word]))
        link = found[0].removeprefix("link=")
        assert link.startswith(f"{url}/verify#token=")
        async with http.post(f"{url}/api/auth/verify", json={"token": link.partition("token=")[2]}) as response:
            assert response.status == 204
        # Killed, it would leave its database running.
        assert await server.stop() == 0
