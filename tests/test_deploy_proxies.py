"""The shipped settings of nginx and PgBouncer, before real servers; only addresses and paths are the test's own."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

import fw
from fw.database.embedded import SYSTEM_USER
from tests.conftest import SECRET, MakeDatabase
from tests.support.people import register
from tests.support.processes import fw as run_fw
from tests.support.servers import free_port
from tests.support.waiting import until

pytestmark = pytest.mark.slow

DEPLOY = Path(fw.__file__).parent / "deploy"
SYSTEM_FOLDERS = "/usr/sbin:/usr/local/sbin"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:{SYSTEM_FOLDERS}")
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:{SYSTEM_FOLDERS}")
ROOT = os.geteuid() == 0


@asynccontextmanager
async def running(*command: str | Path, port: int, log: Path) -> AsyncIterator[None]:
    """Run a server until the block ends, once it listens."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)

    async def listens() -> bool:
        assert process.returncode is None, log.read_text()
        with socket.socket() as probe, suppress(OSError):
            probe.settimeout(1)
            probe.connect(("127.0.0.1", port))
            return True
        return False

    try:
        await until(listens, f"{command[0]} to listen")
        yield
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def replaced(text: str, **changes: str) -> str:
    """Replace words that are there, each for one of the test's own."""
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def nginx(folder: Path, backend: str, port: int) -> AsyncIterator[None]:
    shipped = replaced(
        (DEPLOY / "nginx.conf").read_text(encoding="utf-8"),
        **{"listen 80;": f"listen 127.0.0.1:{port};", "server 127.0.0.1:8080 ": f"server {backend} "},
    )
    paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;\n"
        f"events {{}}\nhttp {{\n{paths}\n{shipped}\n}}\n",
        encoding="utf-8",
    )
    assert NGINX
    async with running(NGINX, "-p", folder, "-c", config, port=port, log=folder / "nginx.log"):
        yield


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)")
async def test_everything_gets_through_nginx(make_database: MakeDatabase, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": make_database(), "FW_JWT_SECRET": SECRET, "FW_TRUSTED_PROXIES": "1", "FW_IP_MODE": "full"}
    port = free_port()
    async with run_fw("serve", folder=tmp_path, **settings) as server, aiohttp.ClientSession() as http:
        backend = (await server.url()).removeprefix("http://")
        async with nginx(tmp_path, backend, port):
            url = f"http://127.0.0.1:{port}"
            headers = await register(http, url)
            page = {**headers, "Origin": url}
            async with http.ws_connect(f"{url}/api/feedback/live", headers=page) as live:
                assert (await live.receive_json(timeout=10))["event"] == "hello"
                forged = {"X-Forwarded-For": "203.0.113.9"}
                async with http.post(f"{url}/api/feedback/somebody", json={"message": "Hello"}, headers=forged) as sent:
                    assert sent.status == 201
                    assert sent.headers["Server"].startswith("nginx")
                found = await live.receive_json(timeout=10)
                assert found["event"] == "created"
                # What the sender has put further left is not believed.
                assert found["feedback"]["ip_address"] == "127.0.0.1"
            async with http.post(f"{url}/api/feedback/somebody", json={"message": "x" * 70_000}) as large:
                assert large.status == 413
                assert (await large.json())["type"] == "/problems/too-large"


UNREAD = {
    "upgrade": (b"GET /health HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", 60_000),
    "live": (b"GET /api/feedback/live HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", 60_000),
    "long": (b"GET /health HTTP/1.1\r\n", 900_000),
    "too large": (b"POST /api/feedback/nobody HTTP/1.1\r\n", 900_000),
    "method": (b"FOO /health HTTP/1.1\r\n", 20_000),
    "fields": (b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 130, 200_000),
}
"""Heads of requests whose bodies nobody reads, and how long these are."""


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: apt-get install nginx-light)")
async def test_a_request_that_nobody_reads_costs_nobody_else_an_answer(make_database: MakeDatabase, tmp_path: Path) -> None:
    """nginx shares its connections to the server among all."""
    settings = {"DATABASE_URL": make_database(), "FW_JWT_SECRET": SECRET, "FW_TRUSTED_PROXIES": "1", "FW_RATE_LIMITS": "off"}
    port = free_port()
    async with (
        run_fw("serve", folder=tmp_path, **settings) as server,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as http,
        nginx(tmp_path, (await server.url()).removeprefix("http://"), port),
    ):
        url = f"http://127.0.0.1:{port}"
        await register(http, url)
        for head, size in UNREAD.values():
            for _ in range(12):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(head + b"Host: x\r\nContent-Length: %d\r\n\r\n" % size + b"a" * size)
                assert not (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 5"), head[:40]
                async with http.post(f"{url}/api/feedback/somebody", json={"message": "Hello"}) as sent:
                    assert sent.status == 201, head[:40]
                writer.close()


@asynccontextmanager
async def pgbouncer(folder: Path, database_url: str, port: int) -> AsyncIterator[str]:
    """Run PgBouncer before the server of the tests, with few connections of its own, and give the URL that leads through it."""
    parts = urlsplit(database_url)
    name = parts.path.lstrip("/")
    host = parse_qs(parts.query).get("host", [parts.hostname or "127.0.0.1"])[0]
    user = parts.username or "postgres"
    target = f"host={host} port={parts.port or 5432} dbname={name} user={user}"
    if parts.password:
        target += f" password={parts.password}"
    config = folder / "pgbouncer.ini"
    config.write_text(
        replaced(
            (DEPLOY / "pgbouncer.ini").read_text(encoding="utf-8"),
            **{
                "\nfeedbackwave = host=127.0.0.1 port=5432 dbname=feedbackwave": f"\n{name} = {target}",
                "listen_port = 6432": f"listen_port = {port}\nunix_socket_dir =",
                # Who asks is not the point here, and has no password on the test's own server.
                "auth_type = scram-sha-256\nauth_file = /etc/pgbouncer/userlist.txt": "auth_type = any",
                "default_pool_size = 20": "default_pool_size = 3",
            },
        ),
        encoding="utf-8",
    )
    for path in (config, *list(config.parents)[:3]):
        path.chmod(path.stat().st_mode | 0o055)
    assert PGBOUNCER
    # It refuses to run as root; the embedded server's user may reach that server's socket.
    identity = ("-u", SYSTEM_USER) if ROOT else ()
    async with running(PGBOUNCER, *identity, config, port=port, log=folder / "pgbouncer.log"):
        yield f"postgresql://{user}@127.0.0.1:{port}/{name}"


@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed (Debian: apt-get install pgbouncer)")
async def test_two_processes_work_through_pgbouncer(make_database: MakeDatabase, tmp_path: Path) -> None:
    direct = make_database()
    async with pgbouncer(tmp_path, direct, free_port()) as pooled:
        settings = {"DATABASE_URL": pooled, "FW_LISTEN_URL": direct, "FW_JWT_SECRET": SECRET, "FW_RATE_LIMITS": "off"}
        async with run_fw("serve", folder=tmp_path, WEB_CONCURRENCY="2", **settings) as server, aiohttp.ClientSession() as http:
            url = await server.url()
            headers = await register(http, url)

            async def submit(number: int) -> str:
                again = {"Idempotency-Key": f"{number % 150}"}
                body = {"message": f"{number % 150}"}
                async with http.post(f"{url}/api/feedback/somebody", json=body, headers=again) as sent:
                    assert sent.status == 201, await sent.text()
                    return str((await sent.json())["id"])

            async with http.ws_connect(f"{url}/api/feedback/live", headers=headers) as live:
                assert (await live.receive_json(timeout=10))["event"] == "hello"
                ids = await asyncio.gather(*(submit(number) for number in range(200)))
                assert len(set(ids)) == 150
                seen = [(await live.receive_json(timeout=10))["feedback"]["id"] for _ in range(150)]
                assert set(seen) == set(ids)
            for _ in range(20):
                async with http.get(f"{url}/api/feedback?limit=100", headers=headers) as response:
                    assert (await response.json())["total_count"] == 150
            async with http.get(f"{url}/health/ready") as response:
                assert response.status == 200
            assert await server.stop() == 0
            assert "Traceback" not in server.output
            assert '"trace"' not in server.output
