"""What Sentry is sent, from the handler that fails to a server that speaks its protocol."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from fw import __version__
from fw.config import Config, ConfigError, load
from fw.database.pool import DATABASE, Database
from fw.database.statements import statements
from tests.conftest import MakeClient
from tests.support.people import body, make_person, problem
from tests.support.waiting import until

SECRET_WORD = "a-secret-word"


class Sentry:
    """Takes envelopes in (https://develop.sentry.dev/sdk/foundations/transport/envelopes/)."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.events: list[dict[str, Any]] = []
        self.dsn = ""

    async def take(self, request: web.Request) -> web.Response:
        raw = await request.read()
        # aiohttp's server unpacks what is encoded, as a client tells it.
        text = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
        self.raw.append(text)
        lines = text.split(b"\n")
        json.loads(lines[0])
        for head, payload in zip(lines[1::2], lines[2::2], strict=False):
            if json.loads(head)["type"] == "event":
                self.events.append(json.loads(payload))
        return web.json_response({})


@pytest.fixture
async def sentry() -> AsyncIterator[Sentry]:
    sentry = Sentry()
    app = web.Application()
    app.router.add_post("/api/7/envelope/", sentry.take)
    async with TestServer(app) as server:
        sentry.dsn = f"http://key@127.0.0.1:{server.port}/7"
        yield sentry


async def first_event(sentry: Sentry) -> dict[str, Any]:
    async def come() -> bool:
        return bool(sentry.events)

    await until(come, "an event")
    return sentry.events[0]


async def test_is_told_of_a_failure_and_of_nobody(
    make_client: MakeClient, sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await make_client(sentry_dsn=sentry.dsn)
    person = await make_person(client)
    row = Database.row

    async def fail(self: Database, name: str, *arguments: Any) -> Any:
        if name != "users.credentials":
            # The mail that the registration leaves is sent meanwhile.
            return await row(self, name, *arguments)
        local = f"{SECRET_WORD} {arguments}"
        raise RuntimeError(local)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "row", fail)
        response = await client.post(
            f"/api/auth/login?{SECRET_WORD}=1",
            json={"login": person.email, "password": SECRET_WORD},
            headers={"X-Request-ID": "my-id", "Cookie": SECRET_WORD, "User-Agent": SECRET_WORD},
        )
        await problem(response, 500, "internal")
    event = await first_event(sentry)
    assert event["release"] == f"feedbackwave@{__version__}"
    assert event["level"] == "error"
    assert event["tags"] == {"request_id": "my-id"}
    assert event["logentry"]["message"] == "request failed"
    [exception] = event["exception"]["values"]
    assert exception["type"] == "RuntimeError"
    assert exception["stacktrace"]["frames"][-1]["function"] == "fail"
    everything = b"".join(sentry.raw).decode()
    for secret in (SECRET_WORD, person.email, person.username, person.password, person.id, "127.0.0.1:", "hostname"):
        assert secret not in everything.replace(sentry.dsn, "")
    assert not {"request", "user", "server_name", "breadcrumbs", "extra", "modules", "contexts"} & event.keys()


async def test_is_told_of_a_statement_that_fails(
    make_client: MakeClient, sentry: Sentry, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await make_client(sentry_dsn=sentry.dsn)
    wrong = {**statements(), "users.public": "SELECT $1::text::integer AS username"}
    monkeypatch.setattr(client.app[DATABASE], "_statements", wrong)
    await problem(await client.get(f"/api/users/{SECRET_WORD}"), 500, "internal")
    event = await first_event(sentry)
    assert event["tags"] == {"statement": "users.public", "sqlstate": "22P02"}
    assert SECRET_WORD not in b"".join(sentry.raw).decode()


async def test_what_is_no_error_is_not_sent(make_client: MakeClient, sentry: Sentry) -> None:
    client = await make_client(sentry_dsn=sentry.dsn)
    await problem(await client.get("/nowhere"), 404, "not-found")
    await problem(await client.post("/api/auth/login", json={"login": "nobody", "password": "x"}), 401, "wrong-credentials")
    await client.close()
    assert sentry.events == []


async def test_a_sentry_that_is_away_disturbs_nobody(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await make_client(sentry_dsn="http://key@127.0.0.1:1/7")

    async def fail(*_: Any) -> NoReturn:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(Database, "row", fail)
        await problem(await client.get("/api/users/anybody"), 500, "internal")
    await body(await client.get("/health"))


@pytest.mark.parametrize("dsn", ["sentry", "https://sentry.example.com/1", "ftp://key@sentry.example.com/1"])
def test_refuses_what_is_no_dsn(dsn: str, tmp_path: Any) -> None:
    with pytest.raises(ConfigError, match=r"^SENTRY_DSN: "):
        load({"SENTRY_DSN": dsn}, tmp_path / ".env")


def test_is_off_unless_asked(config: Config) -> None:
    assert config.sentry_dsn == ""
