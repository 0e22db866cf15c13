"""`fw doctor`: each check where all is well and where it is not, with real parts."""

import json
import re
import resource
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import psycopg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from psycopg.conninfo import conninfo_to_dict

from fw import __version__
from fw.accounts.tokens import LEEWAY_SECONDS
from fw.cli import main
from fw.commands.doctor.database import check_clock
from fw.commands.doctor.finding import Finding, Status, Subject
from fw.commands.doctor.report import CHECKS, report
from fw.config import Config, ConfigError, load
from fw.database.connections import demand
from fw.database.migrations import migrate
from fw.database.statements import migration_ids
from tests.conftest import MakeDatabase
from tests.support import citus
from tests.support.processes import fw
from tests.support.redis import REDIS, redis_server
from tests.support.servers import certificate, deaf_pooler, mail_server, proxy, silence
from tests.support.waiting import until

GOOD = "b7f4a1c98e3d52066f1a0c7d9be8253419ce"
DEAD = "postgresql://nobody@127.0.0.1:1/nowhere"
LOOKS = {check.name: check.look for check in CHECKS}


async def look(name: str, config: Config, **options: Any) -> Finding:
    """Make one check."""
    return await LOOKS[name](Subject(config=config, **options))


async def examined(config: Config, **options: Any) -> dict[str, dict[str, str]]:
    """Make all checks, and return what they say by their names."""
    written: list[str] = []
    is_well = await report(Subject(config=config, **options), written.append, as_json=True)
    answer = json.loads("".join(written))
    assert answer["ok"] == is_well
    return {check["name"]: check for check in answer["checks"]}


def assert_finding(finding: Finding, status: Status, detail: str, advice: str = "") -> None:
    assert finding.status is status, finding
    assert re.search(detail, finding.detail), finding
    assert re.search(advice, finding.advice), finding
    assert bool(finding.advice) == (status in (Status.WARNING, Status.FAILED)), finding
    assert "\n" not in finding.detail + finding.advice


@pytest.fixture
async def good(config: Config, client: TestClient, sql: asyncpg.Connection) -> Config:
    """A configuration with which all is well, and a server."""
    # Those of other tests may be due for long.
    await sql.execute("DELETE FROM jobs")
    return replace(config, jwt_secrets=(GOOD,), public_url=f"http://127.0.0.1:{client.port}")


async def test_all_is_well(good: Config) -> None:
    found = await examined(good)
    assert list(found) == [check.name for check in CHECKS]
    skipped = {"data directory", "mail", "redis"} | (set() if citus.CLUSTER else {"cluster"})
    assert {name for name, check in found.items() if check["status"] == "skipped"} == skipped
    assert {name for name, check in found.items() if check["status"] == "ok"} == set(found) - skipped, found


async def test_tells_people_in_lines(good: Config) -> None:
    written: list[str] = []
    assert not await report(Subject(config=replace(good, database_url=DEAD)), written.append)
    text = "\n".join(written)
    assert re.search(r"^ok       secret          1 of 36 bytes$", text, re.MULTILINE)
    assert re.search(r"^FAILED   database        .*\n {24} -> see that DATABASE_URL is right", text, re.MULTILINE)
    assert re.search(r"^skipped  migrations      needs: database$", text, re.MULTILINE)
    assert text.endswith("1 failed, 0 to look at, 5 well")


async def test_a_failing_check_hides_no_other(good: Config) -> None:
    found = await examined(replace(good, database_url=DEAD, smtp_url="smtp://127.0.0.1:1"))
    failed = {name for name, check in found.items() if check["status"] == "failed"}
    assert failed == {"database", "mail"}
    needing = {check.name for check in CHECKS if check.needs == "database"}
    assert all(found[name]["status"] == "skipped" and found[name]["detail"] == "needs: database" for name in needing)
    assert found["websocket"]["status"] == "ok"


async def test_every_check_has_a_time_limit(good: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.commands.doctor.report.CHECK_SECONDS", 0.5)
    async with silence() as port:
        place = f"127.0.0.1:{port}"
        found = await examined(
            replace(
                good,
                database_url=f"postgresql://me@{place}/x",
                public_url=f"http://{place}",
                smtp_url=f"smtp://{place}",
                redis_url=f"redis://{place}",
            )
        )
    failed = {name: check["detail"] for name, check in found.items() if check["status"] == "failed"}
    assert failed == dict.fromkeys(("database", "public url", "mail", "redis"), "no answer within 0.5 s")


async def test_tells_no_secret(good: Config) -> None:
    user = "me:hush-hush%40"
    config = replace(
        good,
        jwt_secrets=("hush" * 10,),
        metrics_token="hush-metrics",
        database_url=f"postgresql://{user}@127.0.0.1:1/x",
        listen_url=f"postgresql://{user}@127.0.0.1:1/x",
        smtp_url=f"smtp://{user}@127.0.0.1:1",
        redis_url=f"redis://{user}@127.0.0.1:1",
    )
    found = await examined(config)
    assert {found[name]["status"] for name in ("secret", "database", "mail", "redis")} == {"failed"}
    assert "hush" not in json.dumps(found)


@pytest.mark.parametrize(
    ("secrets", "status", "detail"),
    [
        ((GOOD, GOOD[::-1]), Status.OK, "^2 of 36 bytes and 36 bytes; the first signs$"),
        ((GOOD, "ab" * 20), Status.FAILED, "number 2 of 2 has 2 different characters"),
        (("s" * 32,), Status.FAILED, "number 1 of 1 has 1 different characters"),
        (("please-change-me-to-something-random",), Status.FAILED, "looks like a placeholder"),
        ((GOOD, GOOD), Status.WARNING, "the same secret stands there twice"),
        ((), Status.FAILED, "required with DATABASE_URL"),
    ],
)
async def test_secret(config: Config, secrets: tuple[str, ...], status: Status, detail: str) -> None:
    finding = await look("secret", replace(config, jwt_secrets=secrets))
    assert_finding(finding, status, detail)
    assert all(secret not in "".join(finding) for secret in secrets)


async def test_data_directory(config: Config, tmp_path: Path) -> None:
    assert_finding(await look("data directory", config), Status.SKIPPED, "DATABASE_URL is set")
    assert_finding(await look("data directory", config, is_embedded=True), Status.OK, "can be written$")
    (tmp_path / "file").touch()
    elsewhere = replace(config, data_dir=tmp_path / "file" / "below")
    assert_finding(await look("data directory", elsewhere, is_embedded=True), Status.FAILED, "cannot be written", "FW_DATA_DIR")


async def test_open_files(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, status in ((1024, Status.WARNING), (4096, Status.OK)):
        # Only root may raise the real one again.
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (512, limit))
        assert_finding(await look("open files", config), status, rf"^{limit} here: some {limit - 74} sockets a process$")


async def test_database_that_is_not_there(config: Config) -> None:
    for url, said in ((DEAD, "Connect call failed"), (f"{config.database_url.replace('/fw_test_', '/no_')}", "does not exist")):
        assert_finding(await look("database", replace(config, database_url=url)), Status.FAILED, said, "see that DATABASE_URL")


async def test_database_tells_its_version(config: Config) -> None:
    assert_finding(await look("database", config), Status.OK, r"^PostgreSQL 1[5-9]\.\d+")


async def test_database_that_is_read_only_or_in_another_encoding(config: Config, make_database: MakeDatabase) -> None:
    url = make_database()
    name = f"fw_test_{uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} SET default_transaction_read_only = on")
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
        try:
            assert_finding(await look("database", replace(config, database_url=url)), Status.FAILED, "read-only", "primary")
            latin = url.replace(urlsplit(url).path, f"/{name}", 1)
            assert_finding(await look("database", replace(config, database_url=latin)), Status.FAILED, "in LATIN1", "UTF8")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def test_migrations(config: Config, make_database: MakeDatabase) -> None:
    count = len(migration_ids())
    assert_finding(await look("migrations", config), Status.OK, f"^{count} of {count} applied$")
    fresh = replace(config, database_url=make_database())
    assert_finding(await look("migrations", fresh), Status.FAILED, f"^{count} of {count} missing: 0001.accounts", "fw migrate")
    migrate(fresh)
    with psycopg.connect(fresh.database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO _yoyo_migration VALUES ('x', '9999.to-come', now())")
        assert_finding(await look("migrations", fresh), Status.WARNING, "newer release, with 9999.to-come", "newer release")
        connection.execute("DELETE FROM _yoyo_migration WHERE migration_id LIKE '0002%'")
    assert_finding(await look("migrations", fresh), Status.FAILED, f"^1 of {count} missing: 0002", "fw migrate")


async def test_listen(config: Config, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_finding(await look("listen", config), Status.OK, r"took \d+ ms")
    assert_finding(await look("listen", replace(config, redis_url="redis://x")), Status.SKIPPED, "Redis")
    dead = replace(config, listen_url=DEAD)
    assert_finding(await look("listen", dead), Status.FAILED, "^FW_LISTEN_URL: .*Connect call failed", "FW_LISTEN_URL leads to")
    # A notification reaches the listeners of its own database alone.
    monkeypatch.setattr("fw.commands.doctor.database.HEARD_SECONDS", 0.3)
    elsewhere = replace(config, listen_url=make_database())
    assert_finding(await look("listen", elsewhere), Status.FAILED, "^FW_LISTEN_URL: .*no notification arrived", "same database")


async def test_listen_through_a_transaction_pooler(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes LISTEN, and what is told never comes: only trying shows it."""
    monkeypatch.setattr("fw.commands.doctor.database.HEARD_SECONDS", 0.3)
    folder = conninfo_to_dict(config.database_url).get("host")
    if not folder or not str(folder).startswith("/"):
        pytest.skip("the server of the tests has no Unix socket")
    async with deaf_pooler(Path(str(folder)) / ".s.PGSQL.5432") as port:
        pooled = f"postgresql://postgres@127.0.0.1:{port}{urlsplit(config.database_url).path}?sslmode=disable"
        finding = await look("listen", replace(config, database_url=pooled))
        assert_finding(finding, Status.FAILED, "^DATABASE_URL: .*no notification arrived", "pooler .*: set FW_LISTEN_URL")
        past = replace(config, database_url=pooled, listen_url=config.database_url)
        assert_finding(await look("listen", past), Status.OK, "took")


async def test_connections(config: Config, make_database: MakeDatabase) -> None:
    said = r"^FW_DB_POOL 10 x WEB_CONCURRENCY 1 \+ 1 listening \+ 2 migrating = 13 connections, of \d+ .*max_connections \d+, "
    assert_finding(await look("connections", config), Status.OK, said)
    many = replace(config, db_pool=500, web_concurrency=4)
    said = r"^FW_DB_POOL 500 x WEB_CONCURRENCY 4 \+ 4 listening \+ 2 migrating = 2006 connections, of \d+ "
    assert_finding(await look("connections", many), Status.WARNING, said, "lower FW_DB_POOL")
    url = make_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} CONNECTION LIMIT 12")
    limited = replace(config, database_url=url)
    assert_finding(
        await look("connections", limited), Status.WARNING, r"of 12 that .* \(CONNECTION LIMIT of the database\)", "lower"
    )
    gone = replace(config, listen_url=DEAD)
    assert_finding(await look("connections", gone), Status.FAILED, "refused", "see what is said of listening")


def test_connections_past_a_pooler_and_with_redis(config: Config) -> None:
    pooled = replace(config, listen_url=DEAD, web_concurrency=3)
    assert demand(pooled) == (5, "past the pooler, which has to take 30 clients: 3 listening + 2 migrating")
    assert demand(replace(config, redis_url="redis://x")) == (12, "FW_DB_POOL 10 x WEB_CONCURRENCY 1 + 2 migrating")


@pytest.mark.parametrize(
    ("seconds", "status", "said"),
    [
        (-1.5, Status.OK, r"^within 1\.\d s of the database's$"),
        (5.0, Status.WARNING, r"^5\.0 s ahead of the database's$"),
        (LEEWAY_SECONDS / 2 - 1, Status.WARNING, "ahead of the database's$"),
        (-LEEWAY_SECONDS / 2 - 1, Status.FAILED, "behind the database's: new tokens of other hosts may be refused here"),
        (-3600.0, Status.FAILED, r"^3600\.\d s behind the database's: new tokens"),
    ],
)
async def test_clock(config: Config, seconds: float, status: Status, said: str) -> None:
    assert_finding(await look("clock", config), Status.OK, "^within 0.1 s")
    finding = await check_clock(Subject(config=config), lambda: time.time() + seconds)
    assert_finding(finding, status, said, "NTP" if status is not Status.OK else "")


MakeStranger = Callable[[web.Response], Awaitable[str]]
OLD = {"status": "ok", "version": "0.0.1"}


@pytest.fixture
def make_stranger(aiohttp_server: Any) -> MakeStranger:
    """Start something else that answers HTTP, with always the same answer, and give its origin."""

    async def make(answer: web.Response) -> str:
        async def health(request: web.Request) -> web.Response:
            return answer

        app = web.Application()
        app.router.add_get("/health", health)
        return f"http://localhost:{(await aiohttp_server(app)).port}"

    return make


async def endless() -> AsyncIterator[bytes]:
    """Send an answer that never ends. Whoever reads all of it is not done before its time is over."""
    while True:
        yield b"x" * 65_536


async def test_public_url(good: Config, make_stranger: MakeStranger) -> None:
    assert_finding(await look("public url", good), Status.OK, f"answers as release {re.escape(__version__)}$")
    assert_finding(await look("public url", replace(good, public_url="")), Status.SKIPPED, "not set")
    moved = {"Location": "https://elsewhere.example/health"}
    for url, status, said in (
        ("http://127.0.0.1:1", Status.FAILED, "Cannot connect"),
        (await make_stranger(web.Response(text="<html>")), Status.FAILED, "answers 200, and not as FeedbackWave"),
        (await make_stranger(web.Response(body=endless())), Status.FAILED, "answers 200, and not as FeedbackWave"),
        (
            await make_stranger(web.Response(status=301, headers=moved)),
            Status.FAILED,
            "redirects to https://elsewhere.example/health",
        ),
        (await make_stranger(web.json_response(OLD)), Status.WARNING, "release 0.0.1 answers"),
    ):
        assert_finding(await look("public url", replace(good, public_url=url)), status, said, ".")


def with_header(line: bytes) -> Any:
    return lambda head: head.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)


async def test_proxies(good: Config, client: TestClient) -> None:
    assert client.port
    assert_finding(await look("proxies", good), Status.OK, "is 0, and no sign of a proxy")
    trusting = replace(good, trusted_proxies=1)
    assert_finding(await look("proxies", trusting), Status.WARNING, "is 1, and no sign", "set FW_TRUSTED_PROXIES to 0")
    async with proxy(client.port, response=with_header(b"Via: 1.1 vegur")) as port:
        through = replace(good, public_url=f"http://127.0.0.1:{port}")
        assert_finding(await look("proxies", through), Status.WARNING, r"is 0, .*\(Via: 1.1 vegur\)", r"Heroku: 1")
        assert_finding(await look("proxies", replace(through, trusted_proxies=1)), Status.OK, "is 1; seen: Via: 1.1 vegur")
    async with proxy(client.port, response=with_header(b"Via: 1.1 a, 1.1 b")) as port:
        through = replace(trusting, public_url=f"http://127.0.0.1:{port}")
        assert_finding(await look("proxies", through), Status.WARNING, "is 1, and Via names 2 proxies", "set FW_TRUSTED")
    async with proxy(client.port, response=lambda head: head.replace(b"Server: FeedbackWave", b"Server: nginx")) as port:
        through = replace(good, public_url=f"http://127.0.0.1:{port}")
        assert_finding(await look("proxies", through), Status.WARNING, r"\(Server: nginx\)", "set FW_TRUSTED")


async def test_websocket(good: Config, client: TestClient, make_stranger: MakeStranger) -> None:
    assert client.port
    assert_finding(await look("websocket", good), Status.OK, r"passes \(a false token was refused with 4401\)")

    def refuse(head: bytes) -> bytes:
        return re.sub(rb"(?i)(upgrade|connection): [^\r]*\r\n", b"", head)

    async with proxy(client.port) as port:
        through = replace(good, public_url=f"http://127.0.0.1:{port}")
        assert_finding(await look("websocket", through), Status.OK, "passes")
    async with proxy(client.port, request=refuse) as port:
        through = replace(good, public_url=f"http://127.0.0.1:{port}")
        assert_finding(await look("websocket", through), Status.FAILED, r"refused with status 4\d\d", "pass on upgrades")
    for url in (await make_stranger(web.json_response(OLD)), "http://127.0.0.1:1"):
        assert_finding(await look("websocket", replace(good, public_url=url)), Status.FAILED, ".", "pass on upgrades")


@pytest.fixture(scope="session")
def localhost(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return certificate(tmp_path_factory.mktemp("certificate"))


async def test_outbox(config: Config, sql: asyncpg.Connection) -> None:
    await sql.execute("TRUNCATE jobs, lanes")
    assert_finding(await look("outbox", config), Status.OK, "^0 jobs are due")
    user_id = uuid4()
    await sql.execute("SELECT jobs_add($1, 'none', 'x', ARRAY[$1::uuid], ARRAY['{}'::json], ARRAY[0])", user_id)
    assert_finding(await look("outbox", config), Status.OK, "^1 jobs are due")
    await sql.execute("UPDATE jobs SET due = now() - interval '6 minutes'")
    assert_finding(await look("outbox", config), Status.WARNING, "the oldest for 6 minutes", "a server runs")
    await sql.execute("TRUNCATE jobs, lanes")


async def test_mail(config: Config) -> None:
    assert_finding(await look("mail", config), Status.SKIPPED, "FW_SMTP_URL is not set")
    dead = replace(config, smtp_url="smtp://127.0.0.1:1")
    assert_finding(await look("mail", dead), Status.FAILED, "^127.0.0.1:1: .*refused", "host and port")
    async with mail_server() as port:
        url = f"smtp://localhost:{port}"
        assert_finding(await look("mail", replace(config, smtp_url=url)), Status.OK, rf"^localhost:{port} answers$")
    async with mail_server(user="me", password="p@ss") as port:
        for url, status, said in (
            (f"smtp://me:p%40ss@localhost:{port}", Status.OK, r"answers \(login\)$"),
            (f"smtp://me:wrong@localhost:{port}", Status.FAILED, r"refuses the login \(535\)$"),
            # Not one of the names of this machine itself.
            (f"smtp://me:p%40ss@127.0.0.2:{port}", Status.FAILED, "offers no TLS: the password would go in clear"),
        ):
            assert_finding(await look("mail", replace(config, smtp_url=url)), status, said)


async def test_mail_by_tls(config: Config, localhost: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    made, context = localhost
    async with mail_server(user="me", password="x", starttls=context) as clear, mail_server(tls=context) as secure:
        by_starttls = replace(config, smtp_url=f"smtp://me:x@localhost:{clear}")
        by_tls = replace(config, smtp_url=f"smtps://localhost:{secure}")
        for url in (by_starttls, by_tls):
            assert_finding(await look("mail", url), Status.FAILED, "self.signed certificate", "FW_SMTP_URL")
        monkeypatch.setenv("SSL_CERT_FILE", str(made))
        assert_finding(await look("mail", by_starttls), Status.OK, r"answers \(STARTTLS, login\)$")
        assert_finding(await look("mail", by_tls), Status.OK, r"answers \(TLS\)$")


async def test_redis(config: Config, tmp_path: Path) -> None:
    assert_finding(await look("redis", config), Status.SKIPPED, "REDIS_URL is not set")
    dead = replace(config, redis_url="redis://127.0.0.1:1")
    assert_finding(await look("redis", dead), Status.FAILED, "^127.0.0.1:1: ", "REDIS_URL is right")
    if REDIS is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    with redis_server(tmp_path) as url:

        async def answers() -> bool:
            return (await look("redis", replace(config, redis_url=url))).status is Status.OK

        await until(answers, "redis to answer")


@pytest.mark.slow
async def test_the_command_sees_a_server_behind_tls(
    make_database: MakeDatabase, tmp_path: Path, localhost: tuple[Path, ssl.SSLContext]
) -> None:
    made, context = localhost
    settings = {"DATABASE_URL": make_database(), "FW_JWT_SECRET": GOOD, "FW_DB_POOL": "500"}
    async with fw("serve", folder=tmp_path, **settings) as server:
        upstream = urlsplit(await server.url()).port
        assert upstream
        assert "there may be too few connections: FW_DB_POOL 500 x WEB_CONCURRENCY 1 + 1 listening + 2" in server.output
        async with proxy(upstream, context=context) as port:
            outside = {"FW_PUBLIC_URL": f"https://localhost:{port}", "SSL_CERT_FILE": str(made), "FW_TRUSTED_PROXIES": "1"}
            async with fw("doctor", folder=tmp_path, **settings, **outside) as doctor:
                assert await doctor.ended() == 0, doctor.output
        await server.stop()
    for line in (
        "warning  connections     FW_DB_POOL 500 x",
        f"ok       public url      https://localhost:{port} answers",
        "ok       proxies         FW_TRUSTED_PROXIES is 1; seen: https",
        "ok       websocket       the upgrade passes",
    ):
        assert line in doctor.output


@pytest.mark.slow
async def test_the_command_examines_the_embedded_database(tmp_path: Path) -> None:
    async with fw("doctor", "--json", folder=tmp_path) as doctor:
        assert await doctor.ended() == 1
    found = {check["name"]: check for check in json.loads(doctor.output)["checks"]}
    assert found["database"]["detail"].endswith(", embedded")
    assert {name for name, check in found.items() if check["status"] == "failed"} == {"migrations"}
    (tmp_path / "file").touch()
    async with fw("doctor", folder=tmp_path, FW_DATA_DIR="file/below") as doctor:
        assert await doctor.ended() == 1
    assert "FAILED   data directory" in doctor.output
    assert re.search("^FAILED   database        FW_DATA_DIR: Not a directory", doctor.output, re.MULTILINE)
    assert "Traceback" not in doctor.output


def test_a_wrong_configuration_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FW_PUBLIC_URL", "feedback.example.com")
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("fw: FW_PUBLIC_URL: is not an origin of http or https")
    assert said.out == ""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("FW_PUBLIC_URL", text) for text in ("https://a.b/", "https://a.b/x", "ftp://a.b", "https://A.b", "https://a.b:0")),
        *(("FW_SMTP_URL", text) for text in ("a.b:25", "smtp://", "smtp://hush@a.b", "smtp://a.b/x", "smtp://u:hush/x@a.b")),
        *(("FW_SMTP_URL", text) for text in ("https://a.b", "smtp://a.b:0", "smtp://a.b:99999", "smtp://a.b?x=1")),
    ],
)
def test_the_variables_refuse_what_makes_no_sense(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({name: text}, tmp_path / ".env")
    assert re.fullmatch(rf"{name}: is not .*", str(caught.value))
    assert "hush" not in str(caught.value)


def test_the_variables_take_what_does(tmp_path: Path) -> None:
    for url in ("smtp://a.b", "smtp://u:p%2F@a.b:25", "smtps://u:p@[::1]:465/"):
        given = {"FW_SMTP_URL": url, "FW_MAIL_FROM": "mail@example.com"}
        assert load(given, tmp_path / ".env").smtp_url == url
    for url in ("https://a.b", "http://localhost:8080", "http://[::1]:8080"):
        assert load({"FW_PUBLIC_URL": url}, tmp_path / ".env").public_url == url
