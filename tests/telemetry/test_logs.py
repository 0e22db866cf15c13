"""What the log says: an object a line, with what an operator needs, and nothing that people wrote."""

import json
import logging
from io import StringIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fw.telemetry.logs import JsonFormatter, Request, TextFormatter
from tests.support.people import PASSWORD, register
from tests.support.processes import SETTINGS, Process, fw
from tests.support.wire import exchange

SECRET_WORD = "a-secret-word"
REQUEST = Request(1_700_000_000.0125, "my-id", "GET", "/api/users/{username}", 200, 0.012345, 321, None)


def records(process: Process) -> list[dict[str, Any]]:
    """Read what was logged; any line that is no object fails."""
    return [json.loads(line) for line in process.output.splitlines() if line.startswith("{") or '"level"' in line]


def logged(formatter: logging.Formatter, *arguments: Any, **options: Any) -> str:
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log = logging.getLogger("fw.test")
    log.propagate, log.handlers = False, [handler]
    log.warning(*arguments, **options)
    return stream.getvalue()


@pytest.mark.slow
async def test_tells_of_every_request_by_its_pattern(tmp_path: Path) -> None:
    # Links of mails, which are logged with the embedded database, have the public address.
    public = "http://feedback.example"
    async with fw("serve", folder=tmp_path, FW_PUBLIC_URL=public) as server, aiohttp.ClientSession() as http:
        url = await server.url()
        headers = await register(http, url)
        async with http.get(f"{url}/api/auth/me", headers=headers | {"X-Request-ID": "my-own"}) as response:
            user = await response.json()
            size = int(response.headers["Content-Length"])
        sent = {"message": f"{SECRET_WORD} in a message", "metadata": {"note": SECRET_WORD}}
        async with http.post(f"{url}/api/feedback/{user['username']}?{SECRET_WORD}=1", json=sent) as response:
            assert response.status == 201
        async with http.get(f"{url}/{SECRET_WORD}/nowhere") as response:
            assert response.status == 404
        wrong = {"login": user["email"], "password": SECRET_WORD}
        async with http.post(f"{url}/api/auth/login", json=wrong) as response:
            assert response.status == 401
        host, port = url.removeprefix("http://").split(":")
        assert (await exchange(host, int(port), b"NONSENSE\r\n\r\n"))[0] == 400
        async with http.ws_connect(f"{url}/api/feedback/live", headers=headers) as socket:
            await socket.receive_json()
        assert await server.stop() == 0
        found = [record for record in records(server) if record["message"] == "request"]
        by_route = {(record["method"], record["route"], record["status"]): record for record in found}
        me = by_route["GET", "/api/auth/me", 200]
        assert me["request_id"] == "my-own"
        assert me["user_id"] == user["id"]
        assert me["bytes"] >= size
        assert 0 < me["ms"] < 60_000
        assert by_route["POST", "/api/feedback/{ref}", 201]["user_id"] is None
        assert {("GET", "unmatched", 404), ("POST", "/api/auth/login", 401)} <= by_route.keys()
        assert any(record["status"] == 400 and record["route"] == "unmatched" for record in found)
        assert by_route["GET", "/api/feedback/live", 101]["user_id"] == user["id"]
        assert len({record["request_id"] for record in found}) == len(found)
        said = {record["message"]: record for record in records(server)}
        assert {"started", "listening", "stopping", "stopped", "migrated", "registered", "login failed"} <= said.keys()
        assert said["registered"]["user_id"] == user["id"]
        for secret in (SECRET_WORD, PASSWORD, user["email"], user["username"], headers["Authorization"].split()[1], "127.0.0"):
            assert secret not in server.output.split("Stop it with Ctrl-C.")[1].replace(url, "")


@pytest.mark.slow
async def test_is_text_for_people_where_asked(tmp_path: Path) -> None:
    async with fw("serve", folder=tmp_path, FW_LOG_FORMAT="text") as server, aiohttp.ClientSession() as http:
        url = await server.url()
        async with http.get(f"{url}/health"):
            pass
        assert await server.stop() == 0
        assert " INFO fw.server started version=" in server.output
        assert " INFO fw.access request request_id=" in server.output
        assert " route=/health status=200 " in server.output


@pytest.mark.slow
async def test_says_less_where_asked(tmp_path: Path) -> None:
    async with fw("serve", folder=tmp_path, FW_LOG_LEVEL="WARNING") as server, aiohttp.ClientSession() as http:
        url = await server.url()
        async with http.get(f"{url}/health"):
            pass
        assert await server.stop() == 0
        assert records(server) == []


def test_a_request_is_an_object() -> None:
    found = json.loads(logged(JsonFormatter(), "requests", extra={"requests": [REQUEST]}))
    assert found.pop("pid")
    assert found == {
        "time": "2023-11-14T22:13:20.012500Z",
        "level": "WARNING",
        "logger": "fw.test",
        "message": "request",
        "request_id": "my-id",
        "method": "GET",
        "route": "/api/users/{username}",
        "status": 200,
        "ms": 12.35,
        "bytes": 321,
        "user_id": None,
    }


def test_many_requests_are_a_line_each() -> None:
    for formatter in (JsonFormatter(), TextFormatter()):
        assert len(logged(formatter, "requests", extra={"requests": [REQUEST] * 3}).splitlines()) == 3


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_tells_where_it_failed_and_not_what_the_error_says(formatter: logging.Formatter) -> None:
    def fail() -> None:
        raise ValueError(SECRET_WORD)

    def fail_of_it() -> None:
        try:
            fail()
        except ValueError as error:
            raise RuntimeError(f"{error} again") from error

    try:
        fail_of_it()
    except RuntimeError:
        found = logged(formatter, "failed", exc_info=True, extra={"request_id": "my-id"})
    assert SECRET_WORD not in found
    assert all(word in found for word in ("RuntimeError", "ValueError", "my-id", " fail", Path(__file__).name))


def test_a_line_break_makes_no_second_line() -> None:
    assert len(logged(JsonFormatter(), "one\ntwo %s", "\r\nthree", extra={"note": "\n{}"}).splitlines()) == 1


@pytest.mark.slow
async def test_tells_no_cookies_at_any_level(tmp_path: Path, database_url: str) -> None:
    async with fw("serve", folder=tmp_path, DATABASE_URL=database_url, **SETTINGS, FW_LOG_LEVEL="DEBUG") as server:
        url = await server.url()
        host, port = url.removeprefix("http://").split(":")
        for cookie in (f"a={SECRET_WORD}; {SECRET_WORD}; @={SECRET_WORD}", f'fw="{SECRET_WORD}\\'):
            for path in ("/", "/inbox", "/api/auth/me", "/api/feedback/live"):
                await exchange(
                    host, int(port), f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n".encode()
                )
        assert await server.stop() == 0
    assert SECRET_WORD not in server.output
