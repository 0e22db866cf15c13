"""`WEB_CONCURRENCY`: several processes on one port."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.support.people import PASSWORD, register
from tests.support.postgres import lives, postmaster
from tests.support.processes import environment, fw
from tests.support.waiting import until

pytestmark = pytest.mark.slow


async def test_share_a_port_and_the_embedded_database_and_stop_together(tmp_path: Path) -> None:
    async with fw("serve", folder=tmp_path, WEB_CONCURRENCY="2") as server, aiohttp.ClientSession() as http:
        url = await server.url()
        headers = await register(http, url)
        parent = psutil.Process(server.process.pid)
        database = postmaster(tmp_path)
        workers = parent.children()
        assert len(workers) == 2
        assert server.output.count('"migration":"0001.accounts"') == 1
        asked = [http.get(f"{url}/api/auth/me", headers={**headers, "Connection": "close"}) for _ in range(20)]
        assert {response.status for response in await asyncio.gather(*asked)} == {200}
        assert await server.stop() == 0, server.output
        assert not any(lives(worker) for worker in workers)
        assert not lives(database)
        assert "Traceback" not in server.output
        said = [json.loads(line)["message"] for line in server.output.splitlines() if line.startswith("{")]
        assert [said.count(what) for what in ("started", "worker started", "worker stopped", "stopped")] == [1, 2, 2, 1]


async def test_one_that_is_killed_is_replaced_and_leaves_the_database_alone(tmp_path: Path) -> None:
    async with fw("serve", folder=tmp_path, WEB_CONCURRENCY="2") as server, aiohttp.ClientSession() as http:
        url = await server.url()
        await register(http, url)
        parent = psutil.Process(server.process.pid)
        database = postmaster(tmp_path)
        victim = parent.children()[0]
        victim.send_signal(signal.SIGKILL)

        async def replaced() -> bool:
            alive = [worker for worker in parent.children() if lives(worker)]
            return len(alive) == 2 and victim not in alive

        await until(replaced, "a new worker")
        assert lives(database)
        async with http.post(f"{url}/api/auth/login", json={"login": "somebody", "password": PASSWORD}) as response:
            assert response.status == 200
        assert await server.stop(signal.SIGINT) == 0, server.output
        assert not lives(database)


async def test_a_logout_holds_in_all_at_once(tmp_path: Path) -> None:
    async with fw("serve", folder=tmp_path, WEB_CONCURRENCY="3") as server, aiohttp.ClientSession() as http:
        url = await server.url()
        headers = await register(http, url)
        async with http.post(f"{url}/api/auth/logout", headers=headers) as response:
            assert response.status == 204
        asked = [http.get(f"{url}/api/auth/me", headers={**headers, "Connection": "close"}) for _ in range(30)]
        assert {response.status for response in await asyncio.gather(*asked)} == {401}
        await server.stop()


async def test_say_that_they_do_not_start(tmp_path: Path, database_url: str) -> None:
    """With a setting that only they see to make no sense: what is read of the environment is looked at before."""
    program = f"""
from fw import server, workers
from fw.config import Config
config = Config(database_url={database_url!r}, jwt_secrets=("s" * 32,), web_concurrency=2, redis_url="redis://a:b")
with server.bind("127.0.0.1", 0) as sock:
    workers.run(config, sock, print)
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), cwd=tmp_path, env=environment({}), stderr=asyncio.subprocess.PIPE
    )
    complaints = (await process.communicate())[1].decode()
    assert process.returncode == 1
    said = "the server processes do not start; the messages before this one say why"
    assert complaints.splitlines()[-1] == f"fw.config.ConfigError: {said}"
