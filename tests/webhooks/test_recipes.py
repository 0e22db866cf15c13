"""The README's receivers, as they stand there."""

import asyncio
import json
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from fw.webhooks.signature import new_secret, signed_headers
from tests.support.people import Person
from tests.support.receiver import attempted, make_webhook, receiving
from tests.support.servers import free_port
from tests.support.snippets import snippet
from tests.support.waiting import until

pytestmark = pytest.mark.slow

RECEIVERS = {
    "hook.py": [sys.executable],
    "hook.mjs": ["node"],
    "standardwebhooks": [sys.executable],
}


def write(folder: Path, name: str) -> Path:
    """Write a receiver to a file; that of the package is the first one, with another check."""
    if name == "standardwebhooks":
        (folder / "hook.py").write_text(snippet("hook.py"))
        text = (
            f"import hook\n{snippet(name)}\nhook.is_ours = is_ours\nhook.serve(lambda event: print(event['type'], flush=True))"
        )
        (folder / "package.py").write_text(text)
        return folder / "package.py"
    (folder / name).write_text(snippet(name))
    return folder / name


@asynccontextmanager
async def running(folder: Path, name: str, secret: str, port: int, **settings: str) -> AsyncIterator[tuple[str, Path]]:
    """Run a receiver, and give its address and the file of what it prints."""
    command = RECEIVERS.get(name, [sys.executable])
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    log = folder / "receiver.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(*command, str(write(folder, name))),
            env={**os.environ, "PORT": str(port), "WEBHOOK_SECRET": secret, **settings},
            stdout=output,
            stderr=output,
        )
    try:

        async def listens() -> bool:
            with suppress(OSError):
                (await asyncio.open_connection("127.0.0.1", port))[1].close()
                return True
            return False

        await until(listens, f"{name} to listen; it said {log.read_text()!r}")
        yield f"http://127.0.0.1:{port}/", log
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def send(url: str, body: bytes, headers: dict[str, str]) -> int:
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as response:
        return response.status


@pytest.mark.parametrize("name", RECEIVERS)
async def test_takes_what_is_ours_and_nothing_else(name: str, tmp_path: Path) -> None:
    secret, body = new_secret(), json.dumps({"type": "feedback.created", "data": {"message": "Grüße"}}).encode()
    now = int(time.time())
    async with running(tmp_path, name, secret, free_port()) as (url, log):
        good = signed_headers("id", now, body, [secret])
        for headers in (good, signed_headers("id", now, body, [new_secret(), secret])):
            assert await send(url, body, headers) == 204, log.read_text()
        for wrong in (
            signed_headers("id", now, body, [new_secret()]),
            signed_headers("id", now - 600, body, [secret]),
            signed_headers("id", now + 600, body, [secret]),
            {**good, "webhook-id": "other"},
            {**good, "webhook-timestamp": str(now + 1)},
            {**good, "webhook-signature": "v1,"},
            {**good, "webhook-signature": good["webhook-signature"].replace("v1,", "v2,")},
            {},
        ):
            assert await send(url, body, wrong) == 401, wrong
        assert await send(url, body.replace(b"message", b"massage"), good) == 401
        assert log.read_text().count("feedback.created") == 2


@pytest.mark.parametrize(
    ("chat", "expected"),
    [
        ("slack", {"text": "New feedback: &lt;!channel&gt; &amp; Grüße"}),
        ("discord", {"content": "New feedback: <!channel> & Grüße", "allowed_mentions": {"parse": []}}),
    ],
)
async def test_a_chat_is_told(chat: str, expected: dict[str, object], user: Person, tmp_path: Path) -> None:
    port = free_port()
    webhook = await make_webhook(user, f"http://127.0.0.1:{port}/", "feedback.created")
    (tmp_path / "hook.py").write_text(snippet("hook.py"))
    async with (
        receiving() as receiver,
        running(tmp_path, "chat.py", webhook["secret"], port, CHAT_URL=f"{receiver.url}/{chat}"),
    ):
        await user.receive("<!channel> & Grüße")
        (got,) = await receiver.has(1)
        # While the recipe still runs: it answers after the chat does.
        assert (await attempted(user, webhook))["status_code"] == 204
    assert got.json == expected
