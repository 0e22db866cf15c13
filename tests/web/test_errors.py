"""Every error is a problem, every answer has a request id, and neither answers nor logs tell what they must not."""

import gzip
import json
import logging
import re
import zlib
from collections.abc import AsyncIterator
from itertools import product
from typing import Any, NoReturn

import pytest
from aiohttp import ClientResponse, http_parser, web
from aiohttp.test_utils import TestClient

from fw.config import Config
from fw.database.pool import DATABASE, Database
from fw.database.statements import statements
from fw.errors import CATALOGUE
from fw.routes import ROUTES
from fw.server import make_runner
from tests.conftest import MakeClient
from tests.support.people import Person, body, make_person, nothing, problem
from tests.support.wire import exchange

NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
SECRET_WORD = "tell-nobody-of-this"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
async def served(config: Config) -> AsyncIterator[tuple[str, int]]:
    """Serve as `fw serve` does, and give the host and the port."""
    runner = make_runner(config)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0]
    finally:
        await runner.cleanup()


async def test_the_catalogue_has_one_title_and_sentence_a_slug() -> None:
    slugs = [found.slug for found in CATALOGUE]
    assert len(set(slugs)) == len(slugs)
    for found in CATALOGUE:
        assert found.title
        assert found.sentence
        assert 400 <= found.status <= 599


async def test_an_unknown_path_is_a_problem(client: TestClient, user: Person) -> None:
    for path in (
        "/nowhere/",
        "/api",
        "/api/",
        "/nope",
        "/api/users",
        "/api/users/",
        "/api/auth/login/",
        "/api//users/ann",
        "/../etc/passwd",
    ):
        await problem(await client.get(path), 404, "not-found")
        await problem(await user.get(path), 404, "not-found")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        await problem(await client.request(method, "/nope", json={}), 404, "not-found")


async def test_a_wrong_method_is_a_problem_that_lists_the_right_ones(client: TestClient) -> None:
    methods = {"GET", "POST", "PUT", "PATCH", "DELETE"}
    nobody = "00000000-0000-7000-8000-000000000000"
    paths: dict[str, set[str]] = {}
    for line in ROUTES:
        paths.setdefault(re.sub(r"\{\w+\}", nobody, line.path), set()).add(line.method)
    for path, known in paths.items():
        taken = known | {line.method for line in ROUTES if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", line.path), path)}
        for method in methods - taken:
            response = await client.request(method, path)
            await problem(response, 405, "method-not-allowed")
            allowed = set(response.headers["Allow"].split(", "))
            assert known <= allowed, (method, path)
            assert allowed <= taken | {"HEAD", "OPTIONS"}, (method, path)


async def test_an_unknown_method_is_a_problem(client: TestClient) -> None:
    for method in ("PROPFIND", "TRACE", "LOCK"):
        await problem(await client.request(method, "/api/auth/login"), 405, "method-not-allowed")
        await problem(await client.request(method, "/nope"), 404, "not-found")


async def test_a_body_over_64_kib_is_a_problem(make_client: MakeClient) -> None:
    client = await make_client(database_url=NOWHERE)
    for path in ("/api/auth/register", "/api/auth/login", "/api/feedback/anybody"):
        await problem(await client.post(path, json={"message": "x" * 65536}), 413, "too-large")


async def test_a_form_over_64_kib_is_a_problem(client: TestClient) -> None:
    response = await client.post("/api/auth/login", data={"username": "ann", "password": "x" * 65536})
    await problem(response, 413, "too-large")


async def test_a_body_of_64_kib_is_read(user: Person) -> None:
    raw = json.dumps({"message": "x"}).encode()
    path = f"/api/feedback/{user.username}"
    headers = {"Content-Type": "application/json"}
    await body(await user.client.post(path, data=raw.ljust(65536), headers=headers), 201)
    await problem(await user.client.post(path, data=raw.ljust(65537), headers=headers), 413, "too-large")


async def test_a_body_in_chunks_is_measured_too(client: TestClient) -> None:
    async def endless() -> Any:
        for _ in range(80):
            yield b" " * 1024

    response = await client.post("/api/auth/login", data=endless(), headers={"Content-Type": "application/json"})
    await problem(response, 413, "too-large")


async def test_another_media_type_is_a_problem(make_client: MakeClient) -> None:
    client = await make_client(database_url=NOWHERE)
    media = [
        "text/plain",
        "text/html",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "nonsense",
    ]
    media += ["application/json; charset=latin-1", "application/json; charset=utf-16", "application/jsonp"]
    media += ["application/json; a*", "application/json; charset*", "text/plain; charset*"]
    for content_type in (*media, "application/x-www-form-urlencoded"):
        for path in ("/api/auth/register", "/api/feedback/anybody"):
            response = await client.post(path, data=b'{"message": "x"}', headers={"Content-Type": content_type})
            await problem(response, 415, "unsupported-media-type")


async def test_json_is_taken_under_all_its_names(user: Person) -> None:
    for content_type in (
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON;charset=UTF-8",
        "application/ld+json",
    ):
        headers = {"Content-Type": content_type}
        response = await user.client.post(f"/api/feedback/{user.username}", data='{"message": "ü"}'.encode(), headers=headers)
        await body(response, 201)
    raw = b'{"message": "no type at all"}'
    head = f"POST /api/feedback/{user.username} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(raw)}\r\n\r\n"
    assert (await exchange(user.client.host, user.client.port, head.encode() + raw))[0] == 201


PACKED = {
    "gzip": gzip.compress(b'{"login": "ann", "password": "x"}'),
    "deflate": zlib.compress(b'{"login": "ann", "password": "x"}'),
    "br": b"\x0b\x02\x80{}\x03",
    "zstd": b"\x28\xb5\x2f\xfd\x04\x00\x11\x00\x00{}",
    "gzip, gzip": b"nothing that is packed",
    "identity, br": b"{}",
    "compress": b"{}",
    "nonsense": b"{}",
    "GZIP": b"{}",
}


def packed(line: str, coding: str, raw: bytes) -> bytes:
    """Make a request with a body in this coding."""
    head = f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Encoding: {coding}\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw


@pytest.mark.parametrize("coding", PACKED)
async def test_a_packed_body_is_a_problem_that_says_why(served: tuple[str, int], coding: str) -> None:
    for raw in (PACKED[coding], b"{}", b"nothing that is packed", b""):
        status, headers, content = await exchange(*served, packed("POST /api/auth/login", coding, raw))
        assert (status, headers["content-type"]) == (415, "application/problem+json"), content
        assert headers["accept-encoding"] == "identity"
        assert headers["x-request-id"] == json.loads(content)["request_id"]
        assert json.loads(content)["type"] == "/problems/unsupported-media-type"


@pytest.mark.parametrize("coding", ["", "identity", "Identity", "identity, identity"])
async def test_a_body_in_no_coding_is_read(served: tuple[str, int], coding: str) -> None:
    status, headers, content = await exchange(*served, packed("POST /api/auth/login", coding, b"{}"))
    assert status == 422, content
    assert "accept-encoding" not in headers


async def test_another_media_type_is_told_from_a_coding(client: TestClient) -> None:
    response = await client.post("/api/auth/login", data=b"x", headers={"Content-Type": "text/plain"})
    await problem(response, 415, "unsupported-media-type")
    assert "Accept-Encoding" not in response.headers


async def test_nothing_is_ever_unpacked(served: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[Any] = []

    class Recorder(http_parser.ZLibDecompressor):
        def decompress_sync(self, *given: Any, **options: Any) -> bytes:
            unpacked.append(given)
            return super().decompress_sync(*given, **options)

    monkeypatch.setattr(http_parser, "ZLibDecompressor", Recorder)
    bomb = gzip.compress(b" " * 10_000_000)
    for line, expected in (("POST /api/auth/login", 415), ("GET /health", 200), ("POST /health", 405), ("POST /nope", 404)):
        for coding in ("gzip", "deflate"):
            status, _, content = await exchange(*served, packed(line, coding, bomb))
            assert status == expected, content
    assert unpacked == []


async def test_malformed_json_is_a_problem(client: TestClient) -> None:
    response = await client.post("/api/auth/login", data=b"{", headers={"Content-Type": "application/json"})
    await problem(response, 400, "malformed-json")


async def test_an_unknown_expectation_is_a_problem(client: TestClient) -> None:
    for method, path in (("POST", "/api/auth/login"), ("GET", "/api/users/ann"), ("GET", "/health")):
        response = await client.request(method, path, headers={"Expect": "a miracle"})
        await problem(response, 417, "expectation-failed")


async def test_an_unknown_expectation_is_a_problem_where_there_is_no_route_too(served: tuple[str, int]) -> None:
    lines = (b"POST /nope", b"PUT /api/auth/login", b"OPTIONS /api/users/profile")
    for line, expectation in product(lines, (b"a miracle", b"\x80")):
        head = b"%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: %s\r\n\r\n" % (line, expectation)
        status, headers, content = await exchange(*served, head)
        assert status == 417
        assert headers["content-type"] == "application/problem+json", (line, content)
        assert json.loads(content)["type"] == "/problems/expectation-failed"


async def test_what_is_no_http_is_a_problem(served: tuple[str, int]) -> None:
    for raw in (
        b"nonsense\r\n\r\n",
        b"GET /health HTTP/9\r\n\r\n",
        b"BREW /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ):
        status, headers, content = await exchange(*served, raw)
        assert status == 400
        assert headers["content-type"] == "application/problem+json", (raw, content)
        assert json.loads(content)["request_id"] == headers["x-request-id"]


async def test_100_continue_is_met(user: Person) -> None:
    path = f"/api/feedback/{user.username}"
    await body(await user.client.post(path, json={"message": "x"}, expect100=True), 201)


async def test_errors_of_the_framework_have_a_request_id_too(client: TestClient) -> None:
    for method, path in (("GET", "/nope"), ("PUT", "/api/auth/login"), ("POST", "/api/auth/login")):
        response = await client.request(method, path, headers={"X-Request-ID": "my-own-1"})
        assert response.status in (404, 405, 415)
        assert response.headers["X-Request-ID"] == (await response.json())["request_id"] == "my-own-1"


async def test_a_sane_request_id_is_echoed(client: TestClient) -> None:
    for sent in ("a", "abc-123_4.5~6:7/8+9=", "x" * 128, "01890a5d-ac96-774b-bcce-b302099a8057"):
        response = await client.get("/health", headers={"X-Request-ID": sent})
        assert response.headers["X-Request-ID"] == sent


async def test_any_other_request_id_is_replaced(client: TestClient) -> None:
    seen = set()
    for sent in ("", "a b", "x" * 129, "<script>", "a,b", '"', "ü", "a;b", "{}", "%0d%0a"):
        response = await client.get("/health", headers={"X-Request-ID": sent})
        assert UUID.fullmatch(response.headers["X-Request-ID"]), sent
        seen.add(response.headers["X-Request-ID"])
    assert len(seen) == 10


async def test_a_request_id_of_odd_bytes_is_replaced(client: TestClient) -> None:
    for sent in (b"\xff", b"\xed\xa0\x80", b"a\tb", b"x\x80"):
        head = b"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-ID: %s\r\n\r\n" % sent
        status, headers, content = await exchange(client.host, client.port, head)
        assert status == 404
        assert UUID.fullmatch(headers["x-request-id"])
        assert json.loads(content)["request_id"] == headers["x-request-id"]


async def test_every_answer_has_a_request_id_of_its_own(client: TestClient, user: Person) -> None:
    answers: list[ClientResponse] = [await client.get("/health") for _ in range(3)]
    answers += [await user.get("/api/auth/me"), await user.post("/api/auth/logout"), await client.get("/nope")]
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == len(answers)


async def test_a_handler_that_fails_tells_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: Any) -> NoReturn:
        raise RuntimeError(SECRET_WORD)

    monkeypatch.setattr(Database, "row", fail)
    response = await client.get("/api/users/anybody")
    found = await problem(response, 500, "internal")
    assert found.keys() == {"type", "title", "status", "detail", "request_id"}
    for text in (await response.text(), str(response.headers)):
        assert SECRET_WORD not in text
        assert "RuntimeError" not in text
        assert "Traceback" not in text
    logged = [record for record in caplog.records if getattr(record, "request_id", "") == found["request_id"]]
    assert [record.levelname for record in logged] == ["ERROR"]
    assert logged[0].exc_info


async def test_a_handler_that_fails_leaves_the_server_well(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> NoReturn:
        raise ValueError(SECRET_WORD)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "change", fail)
        asked = {"email": "somebody@example.com", "username": "somebody", "password": SECRET_WORD}
        await problem(await client.post("/api/auth/register", json=asked), 500, "internal")
    await body(await (await make_person(client)).get("/api/auth/me"))


async def test_a_statement_that_fails_quotes_nobody(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    database = client.app[DATABASE]
    wrong = {**statements(), "users.public": "SELECT $1::text::integer AS username"}
    monkeypatch.setattr(database, "_statements", wrong)
    response = await client.get(f"/api/users/{SECRET_WORD}")
    await problem(response, 500, "internal")
    assert SECRET_WORD not in await response.text()
    said = [record for record in ours(caplog) if getattr(record, "statement", "") == "users.public"]
    assert [record.levelname for record in said] == ["ERROR"]
    assert SECRET_WORD not in everything(ours(caplog))


async def test_a_database_out_of_reach_is_503(make_client: MakeClient) -> None:
    client = await make_client(database_url=NOWHERE)
    asked = {"login": "anybody", "password": SECRET_WORD}
    for response in (await client.get("/api/users/anybody"), await client.post("/api/auth/login", json=asked)):
        await problem(response, 503, "unavailable")
        assert int(response.headers["Retry-After"]) > 0


async def test_preflights_and_what_is_not_there_ask_no_database(make_client: MakeClient) -> None:
    client = await make_client(database_url=NOWHERE, cors_origins=frozenset({"https://example.com"}))
    headers = {"Origin": "https://example.com", "Access-Control-Request-Method": "PUT"}
    response = await client.options("/api/users/profile", headers=headers)
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == "https://example.com"
    await problem(await client.get("/nope"), 404, "not-found")
    await problem(await client.put("/api/auth/login"), 405, "method-not-allowed")
    await problem(await client.get("/api/users/no%20name"), 404, "not-found")
    await problem(await client.post("/api/feedback/no%20name", json={"message": "x"}), 404, "not-found")


async def test_a_refused_preflight_is_a_problem(client: TestClient) -> None:
    for headers in ({}, {"Origin": "https://example.com", "Access-Control-Request-Method": "PUT"}):
        await problem(await client.options("/api/users/profile", headers=headers), 403, "forbidden")


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what was logged, but for the event loop's and the test server's own."""
    return [record for record in caplog.records if not record.name.startswith(("asyncio", "aiohttp.access"))]


def everything(records: list[logging.LogRecord]) -> str:
    formatter = logging.Formatter("%(name)s %(message)s %(args)s")
    return "\n".join(f"{formatter.format(record)} {record.__dict__}" for record in records)


@pytest.mark.usefixtures("no_attempts_yet")
async def test_logs_tell_what_happened_and_nothing_that_is_secret(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = await make_client(rate_limits={"login": (4, 60), "login-account": (9, 60), "registration": (9, 60)})
    user = await make_person(client, password="a password of mine", email="Anna.Secret@example.com")
    login, new, message = "/api/auth/login", "another one of mine", "a message of mine"
    token = (await body(await client.post(login, json={"email": user.email, "password": user.password})))["access_token"]
    await problem(await client.post(login, json={"email": user.email, "password": "a wrong one"}), 401, "wrong-credentials")
    await problem(await client.post(login, json={"login": "a.stranger@example.com", "password": "x"}), 401, "wrong-credentials")
    await body(await client.post(login, data={"username": user.email, "password": user.password}))
    await problem(await client.post(login, json={"email": user.email, "password": user.password}), 429, "too-many-requests")
    asked = {"email": user.email, "username": "somebody-new", "password": user.password}
    await problem(await client.post("/api/auth/register", json=asked), 409, "email-taken")
    await problem(await client.post("/api/auth/register", json={**asked, "password": "short"}), 422, "invalid")
    feedback_id = await user.receive(message, metadata={"page": "a page of mine"})
    await problem(await client.post(f"/api/feedback/{user.username}", json={"message": message + "\0"}), 422, "invalid")
    await problem(await client.post(f"/api/feedback/{user.username}", data=message), 415, "unsupported-media-type")
    await user.inbox(q=message)
    await user.changes(0)
    await nothing(await user.delete(f"/api/feedback/{feedback_id}"))
    for wrong in (user.token + "x", "a.token.of-mine"):
        await problem(await client.get("/api/auth/me", headers={"Authorization": f"Bearer {wrong}"}), 401, "unauthorized")
    change = {"current_password": user.password, "new_password": new}
    await problem(await user.post("/api/auth/password", json={**change, "current_password": "a wrong one"}), 422, "invalid")
    await nothing(await user.post("/api/auth/password", json=change))
    await problem(await client.get("/api/auth/me", headers={"Authorization": f"Bearer {token}"}), 401, "unauthorized")
    email = {"email": "new.secret@example.com", "current_password": new}
    await body(await user.put("/api/users/profile", json=email))
    await nothing(await user.post("/api/auth/logout"))
    said = everything(ours(caplog))
    for event in (
        "registered",
        "logged in",
        "login failed",
        "limit reached",
        "password changed",
        "token refused",
        "logged out",
    ):
        assert event in said, event
    assert user.id in said
    secrets = [user.password, new, "a wrong one", user.token, token, "a.token.of-mine", message, "a page of mine"]
    secrets += [*user.token.split(".")[1:], user.email, "secret@example", "stranger@example", "short"]
    for secret in secrets:
        assert secret.lower() not in said.lower(), secret
