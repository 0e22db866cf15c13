"""What every answer carries, and how long the server waits for whom."""

import asyncio
import contextlib
import gc
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient

from fw import server
from fw.config import Config
from fw.server import KEEPALIVE_SECONDS, Runner
from fw.web import connections, protocol
from fw.web.protocol import ProblemHandler
from tests.support.own_server import start
from tests.support.people import PASSWORD, Person, problem, register
from tests.support.waiting import until
from tests.support.wire import exchange

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Server": "FeedbackWave",
    "Vary": "Origin",
}


@pytest.fixture
async def runner(config: Config, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runner]:
    """The server itself, more impatient than usual."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(server, "SWEEP_SECONDS", 0.1)
    monkeypatch.setattr("fw.web.request.BODY_SECONDS", 0.3)
    runner = await start(config)
    yield runner
    await runner.cleanup()


def port_of(runner: Runner) -> int:
    return int(runner.addresses[0][1])


async def read_all(runner: Runner, *parts: bytes) -> bytes:
    """Send parts, a moment apart, and read until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


async def test_every_answer_says_what_may_be_done_with_it(client: TestClient, user: Person) -> None:
    answers = [
        await client.get("/health"),
        await client.get("/nowhere"),
        await client.get("/api/feedback"),
        await client.post(f"/api/feedback/{user.username}", json={"message": "Hello"}),
        await client.post(f"/api/feedback/{user.username}", data=b"{"),
        await client.options("/api/feedback", headers={"Origin": "https://example.com"}),
        await user.get("/api/feedback"),
        await client.get("/metrics"),
    ]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in EVERYWHERE} == EVERYWHERE, answer.url


async def test_a_body_that_is_too_large_is_refused_at_once_however_large_its_pieces_are(config: Config) -> None:
    runner = await start(config)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    writer.write(b"POST /api/feedback/anybody HTTP/1.1\r\nHost: x\r\nContent-Length: 250000\r\n\r\n")
    server: Any = runner.server

    async def has_come() -> bool:
        return bool(server.unfinished.size)

    await until(has_come)
    # What the kernel has gathered meanwhile comes in one piece.
    server.connections[0].data_received(b" " * 200_000)
    assert (await asyncio.wait_for(reader.readline(), 5)).split()[1] == b"413"
    writer.close()
    await runner.cleanup()


@contextlib.asynccontextmanager
async def without_collector(config: Config) -> AsyncIterator[Runner]:
    """A server, and then a wait until nothing is left of its connections without the collector's help."""
    runner = await start(config)
    gc.collect()
    gc.disable()
    try:
        yield runner

        async def are_gone() -> bool:
            return not [each for each in gc.get_objects() if isinstance(each, ProblemHandler)]

        await until(are_gone, "connections to be gone")
    finally:
        gc.enable()
        await runner.cleanup()


async def lose_connections(config: Config) -> None:
    """Lose connections whose bodies are coming."""
    async with contextlib.AsyncExitStack() as ends, without_collector(config) as runner:
        server: Any = runner.server
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
            ends.callback(writer.close)
            writer.write(b"POST /api/feedback/anybody HTTP/1.1\r\nHost: x\r\nContent-Length: 65000\r\n\r\n" + b" " * 30_000)

        async def have_come() -> bool:
            return len(server.connections) == 5 and server.unfinished.size > 150_000

        await until(have_come)
        for handler in server.connections:
            handler.transport.abort()
        del handler


def test_a_connection_that_is_lost_while_its_body_comes_leaves_nothing_in_memory(config: Config) -> None:
    # Not in the event loop of the other tests, which keeps timers that were cancelled.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(lose_connections(config))


CHUNKED = b"POST /api/feedback/anybody HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
REFUSED = {
    "method": [b"FOO /health HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"a" * 60_000],
    "field": [b"GET /health HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n"],
    "line": [b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\n"],
    "head": [b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"A: a\r\n" * 200 + b"\r\n"],
    "chunk": [CHUNKED, b"3\r\nabc\r\nZZ\r\n"],
    "chunk at once": [CHUNKED + b"3\r\nabc\r\nZZ\r\n"],
    "chunks": [CHUNKED + b"1\r\na\r\n" * 300, b"1\r\na\r\n" * 900],
    "size": [CHUNKED + b"18000\r\n" + b"a" * 70_000],
    "length": [b"POST /api/feedback/anybody HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"a" * 70_000],
    "unread": [b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + b"a" * 60_000],
    "behind": [b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + b"FOO / HTTP/1.1\r\n\r\n" + b"a" * 60_000],
}


async def have_refused(config: Config, parts: list[bytes]) -> None:
    """Send what is refused, and leave the connections open."""
    async with contextlib.AsyncExitStack() as ends, without_collector(config) as runner:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
            ends.callback(writer.close)
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.02)
            assert b" 4" in await asyncio.wait_for(reader.readline(), 20)


@pytest.mark.parametrize("kind", REFUSED)
def test_a_request_that_is_refused_leaves_nothing_in_memory(config: Config, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """7,000 of them took 260 MB until the collector ran."""
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.1)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(have_refused(config, REFUSED[kind]))


@pytest.mark.parametrize("rest", ['"}', '"}GET /health HTTP/1.1\r\nHost: x\r\n\r\n'], ids=["alone", "and another request"])
async def test_a_body_that_is_coming_when_the_server_stops_is_waited_for(config: Config, user: Person, rest: str) -> None:
    runner = await start(config)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    writer.write(f"POST /api/feedback/{user.username} HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n\r\n".encode())
    writer.write(b'{"message": "last words')
    server: Any = runner.server
    await until(lambda: asyncio.sleep(0, server.unfinished.size > 0))
    [handler] = server.connections
    await until(lambda: asyncio.sleep(0, handler._request_in_progress))
    stopping = asyncio.create_task(runner.cleanup())
    await until(lambda: asyncio.sleep(0, handler.last is not None))
    writer.write(rest.encode())
    # The connection ends behind its answer.
    answers = await asyncio.wait_for(reader.read(), 20)
    assert answers.startswith(b"HTTP/1.1 201 ")
    assert answers.count(b"HTTP/1.1 ") == 1
    await asyncio.wait_for(stopping, 20)
    assert (await user.inbox())["items"][0]["message"] == "last words"
    writer.close()


async def test_of_too_many_unfinished_requests_the_oldest_make_room(
    config: Config, user: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNFINISHED_BYTES", 100_000)
    runner = await start(config)
    content = b'{"message": "Hello"}'.ljust(30_001)
    head = f"POST /api/feedback/{user.username} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    unfinished: Any = runner.server.unfinished  # type: ignore[union-attr]
    wanted = 0

    async def holds_that() -> bool:
        return bool(unfinished.size == wanted)

    streams = []
    for n in range(1, 6):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
        streams.append((reader, writer))
        for part in (head, content[:10_000], content[10_000:30_000]):
            writer.write(part)
        wanted = min(n, 3) * (len(head) + 30_000)
        await until(holds_that)
    assert [await reader.read() for reader, _ in streams[:2]] == [b"", b""]
    for reader, writer in streams[2:]:
        writer.write(content[30_000:])
        assert (await reader.readline()).split()[1] == b"201"
    wanted = 0
    await until(holds_that)
    streams[4][1].write(head)
    wanted = len(head)
    await until(holds_that)
    for _, writer in streams:
        writer.close()
    wanted = 0
    await until(holds_that)
    await runner.cleanup()


async def test_an_answer_is_the_same_whichever_way_its_head_is_written(user: Person) -> None:
    """A request that ends its connection, or comes from a page of another site, has its answer's head written by aiohttp."""
    path, named = f"/api/users/{user.username}", {"X-Request-ID": "mine"}
    answer = await user.client.get(path, headers=named)
    content = await answer.read()
    usual = {name.lower(): value for name, value in answer.headers.items()}
    assert usual == {
        **{name.lower(): value for name, value in EVERYWHERE.items()},
        "cache-control": "no-store",
        "content-type": "application/json",
        "content-length": str(len(content)),
        "date": usual["date"],
        "x-request-id": "mine",
    }
    head = f"{path} HTTP/1.1\r\nHost: x\r\nX-Request-ID: mine\r\n"
    for request, also in (
        (f"GET {head}Connection: close\r\n\r\n", {"connection": "close"}),
        (f"GET {head.replace('1.1', '1.0')}\r\n", {}),
        (f"HEAD {head}Connection: close\r\n\r\n", {"connection": "close"}),
    ):
        status, headers, body = await exchange(user.client.host, user.client.port, request.encode())
        assert status == 200
        assert {**headers, "date": usual["date"]} == {**usual, **also}
        assert body == (b"" if request.startswith("HEAD") else content)
    answer = await user.client.get(path, headers={**named, "Origin": "https://example.com"})
    assert {name.lower() for name in answer.headers} >= usual.keys()
    assert await answer.read() == content


async def test_what_is_not_even_http_is_answered_so_too(runner: Runner) -> None:
    status, headers, _ = await exchange("127.0.0.1", port_of(runner), b"NONSENSE\r\n\r\n")
    assert status == 400
    assert {name: headers.get(name.lower()) for name in EVERYWHERE} == EVERYWHERE


async def test_nothing_personal_is_kept_on_the_way(client: TestClient, user: Person) -> None:
    login = await client.post("/api/auth/login", json={"login": user.username, "password": PASSWORD})
    for answer in (login, await user.get("/api/feedback"), await user.get("/api/auth/me"), await client.get("/api/feedback")):
        assert answer.headers["Cache-Control"] == "no-store"


async def test_a_connection_that_says_nothing_is_closed(runner: Runner) -> None:
    assert await read_all(runner) == b""


async def test_a_head_that_never_ends_is_closed(runner: Runner) -> None:
    assert await read_all(runner, b"GET /health HTTP/1.1\r\n", b"Host: x\r\n", b"X-Slow") == b""


async def test_a_body_that_never_ends_is_refused(runner: Runner) -> None:
    head = b"POST /api/feedback/nobody HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    answer = await read_all(runner, head, b'{"message"')
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"type":"/problems/request-timeout"' in answer


async def test_a_client_that_takes_no_response_is_cut_off(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.5)
    _, writer = await asyncio.open_connection("127.0.0.1", port_of(runner), limit=1024)
    # More than the buffers of both ends hold.
    writer.write(b"GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
    assert runner.server

    async def is_closed() -> bool:
        assert runner.server
        return not runner.server.connections

    await until(lambda: is_open(runner))
    await until(is_closed)
    writer.close()


async def is_open(runner: Runner) -> bool:
    assert runner.server
    return bool(runner.server.connections)


async def test_a_client_that_takes_a_response_slowly_is_not_cut_off(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner), limit=1024)
    request = b"GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n"
    writer.write((request + b"\r\n") * 5 + request + b"Connection: close\r\n\r\n")
    size = 0
    while chunk := await asyncio.wait_for(reader.read(50_000), 10):
        size += len(chunk)
        await asyncio.sleep(0.01)
    assert size > 6 * 1_000_000
    writer.close()


async def test_clients_that_take_nothing_make_way_where_too_much_waits(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "UNTAKEN_BYTES", 1_000_000)
    request = b"GET /api/docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n"
    stalled = [await asyncio.open_connection("127.0.0.1", port_of(runner), limit=1024) for _ in range(4)]
    for _, writer in stalled:
        writer.write((request + b"\r\n") * 20)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner), limit=1024)
    writer.write((request + b"\r\n") * 9 + request + b"Connection: close\r\n\r\n")
    size = 0

    async def are_cut() -> bool:
        assert runner.server
        waiting = [handler.transport.get_write_buffer_size() for handler in runner.server.connections if handler.transport]
        return size > 0 and sum(waiting) <= 1_000_000

    cutting = asyncio.create_task(until(are_cut))
    while chunk := await asyncio.wait_for(reader.read(50_000), 10):
        size += len(chunk)
        await asyncio.sleep(0.01)
    assert size > 10 * 1_000_000
    await cutting
    for _, stopped in [*stalled, (reader, writer)]:
        stopped.close()


async def test_a_connection_between_requests_is_left_alone(runner: Runner) -> None:
    async with ClientSession() as http:
        for _ in range(2):
            async with http.get(f"http://127.0.0.1:{port_of(runner)}/health") as answer:
                assert answer.status == 200
            connections = set(runner.server.connections) if runner.server else set()
            # Longer than a first request may take.
            await asyncio.sleep(0.6)
            assert runner.server
            assert connections == set(runner.server.connections)


def test_a_connection_outlives_the_platforms_router() -> None:
    assert KEEPALIVE_SECONDS > 90


LONG_BLOCKS = """
import psutil
from fw.server import tune_memory

tune_memory()
before = psutil.Process().memory_info().rss
for _ in range(3):
    blocks, kept = [], []
    for _ in range(200):
        blocks.append(b"x" * 1_000_000)
        kept.append(b"y" * 1_000)
    del blocks
print((psutil.Process().memory_info().rss - before) // 1_000_000)
"""


def test_the_memory_of_long_responses_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", LONG_BLOCKS], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50


FIRST_REQUESTS = """
import sys
from fw.inbox import search
from fw.config import Config
from fw.web import fields
from fw.accounts import login as users
from fw.server import make_runner

make_runner(Config(jwt_secrets=("s" * 32,)))
loaded = set(sys.modules)
users.email_key("me@b\u00fccher.example")
print(sorted(set(sys.modules) - loaded), fields.time_zones.cache_info().misses, search._cases.cache_info().misses)
fields.time_zones(), search.pattern("x")
print(fields.time_zones.cache_info().misses, search._cases.cache_info().misses)
"""


def test_nothing_is_left_to_load_for_the_first_request() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_REQUESTS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[] 1 1", "1 1"]


async def test_a_head_that_is_long_in_all_is_refused(client: TestClient) -> None:
    headers = {f"X-{n}": "x" * 1000 for n in range(40)}
    found = await problem(await client.get("/health", headers=headers), 400, "bad-request")
    assert "32 KiB" in found["detail"]
    assert (await client.get("/health", headers={f"X-{n}": "x" * 1000 for n in range(20)})).status == 200


@pytest.mark.parametrize("kind", ["application/json; x=" + ";" * 1000, "application/json" + "; a=b" * 500])
async def test_a_content_type_that_takes_long_to_read_is_not_read(client: TestClient, user: Person, kind: str) -> None:
    path = f"/api/feedback/{user.username}"
    response = await client.post(path, data=b'{"message": "Hello"}', headers={"Content-Type": kind})
    await problem(response, 415, "unsupported-media-type")


async def test_a_long_list_of_tags_is_not_read(client: TestClient, user: Person) -> None:
    etag = (await user.get("/api/feedback")).headers["ETag"]
    assert (await user.get("/api/feedback", headers={"If-None-Match": f'"x", {etag}'})).status == 304
    assert (await user.get("/api/feedback", headers={"If-None-Match": '"x", ' * 500 + etag})).status == 200


async def test_a_head_that_is_refused_for_its_size_is_the_last(runner: Runner) -> None:
    fields = "".join(f"X-{number}: {'a' * 2000}\r\n" for number in range(30))
    answer = await read_all(runner, f"GET /health HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer


async def test_a_head_of_few_long_fields_is_refused_too(runner: Runner) -> None:
    fields = "".join(f"{'X' * 3000}{number}: {'a' * 8000}\r\n" for number in range(9))
    answer = await read_all(runner, f"GET /health HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(("size", "is_kept"), [(7000, True), (8100, False)])
async def test_a_connection_is_not_kept_after_a_long_head(runner: Runner, size: int, is_kept: bool) -> None:
    """The parser keeps it until the next request: 6,000 idle connections took 1.7 GB."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    heads = [f"X: {'a' * size}\r\nY: {'a' * 1000}\r\n", *(["Connection: close\r\n"] if is_kept else [])]
    writer.writelines(f"GET /health HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode() for fields in heads)
    answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.count(b"HTTP/1.1 200 ") == 1 + is_kept
    assert b"Connection: close" in answer
    writer.close()


async def test_a_connection_is_kept_after_a_long_body(runner: Runner) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n"
    answers = await read_all(runner, head + b"\r\n" + b"a" * 60_000, head + b"Connection: close\r\n\r\n" + b"a" * 60_000)
    assert answers.count(b"HTTP/1.1 404 ") == 2


async def test_a_head_that_goes_on_and_on_is_not_kept(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 60)
    fields = "".join(f"X-{number}: {'a' * 8000}\r\n" for number in range(100)).encode()
    with contextlib.suppress(ConnectionError):
        assert await read_all(runner, b"GET /health HTTP/1.1\r\nHost: x\r\n" + fields) == b""


async def test_of_a_body_that_nobody_reads_only_some_is_parsed(runner: Runner) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    writer.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
    assert runner.server
    # Kept here: once it is cut the connection may be gone at any moment.
    (handler,) = runner.server.connections
    assert isinstance(handler, ProblemHandler)
    writer.write(b"1\r\na\r\n" * 200_000)
    await until(lambda: asyncio.sleep(0, handler._is_cut), "the connection to be cut")
    writer.transport.abort()


async def test_a_body_in_very_many_chunks_is_refused(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.web.request.BODY_SECONDS", 60)
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for parts in ([head + b"1\r\n{\r\n" * 2000], [head, *[b"1\r\n{\r\n" * 220] * 3]):
        answer = await read_all(runner, *parts)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"The body is not what its headers say." in answer


async def test_a_body_whose_chunks_are_invalid_is_refused_at_once(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If they came after the first ones, it was waited for more, which nobody parsed."""
    monkeypatch.setattr("fw.web.request.BODY_SECONDS", 60)
    part = b"3\r\nabc\r\n"
    for path in (b"/api/auth/login", b"/api/feedback/anybody", b"/health", b"/nothing"):
        head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path
        for parts in (
            [head + part + b"ZZ\r\n"],
            [head, part + b"ZZ\r\n"],
            [head + part, b"ZZ\r\n", part],
            [head, part, b"1\r\naa"],
        ):
            answer = await read_all(runner, *parts)
            assert answer.count(b"HTTP/1.") == 1
            assert answer.split()[1] in {b"400", b"404", b"405"}
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("line", [b"FOO /health HTTP/1.1", b"GET /health HTTP/9", b"GET / HTTP/1.1\r\nA: \x01"])
async def test_an_answer_to_what_is_no_http_is_read_even_if_more_comes(runner: Runner, line: bytes) -> None:
    """Closed at once, the connection would be reset, and a proxy would take the server for one that has failed."""
    for _ in range(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
        writer.write(line + b"\r\nHost: x\r\nContent-Length: 400000\r\n\r\n")
        for _ in range(10):
            writer.write(b"a" * 40_000)
            await asyncio.sleep(0.002)
        answer = await asyncio.wait_for(reader.read(), 20)
        assert b" 400 " in answer.partition(b"\r\n")[0]
        assert answer.count(b"HTTP/1.") == 1
        writer.close()


UPGRADES = {
    "websocket": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n",
    "tcp": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}",
    "live": b"GET /api/feedback/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "h2c": b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
    "connect": b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("upgrade", UPGRADES)
async def test_nothing_is_parsed_behind_an_upgrade_that_is_declined(runner: Runner, upgrade: str) -> None:
    """It would be outside all limits: 10,000 chunks of one byte took 45 ms."""
    head = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    chunks = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 100 + b"0\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    writer.write(head + b"\r\n" + UPGRADES[upgrade] + chunks + head + b"\r\n")
    answers = b""
    with contextlib.suppress(ConnectionError):
        while some := await asyncio.wait_for(reader.read(9_999), 20):
            answers += some
    assert answers.count(b"HTTP/1.1 ") == 2
    assert answers.count(b"Connection: close") == 1
    writer.close()


@pytest.mark.parametrize("path", ["/health", "/api/feedback/live"])
async def test_a_connection_ends_with_a_declined_upgrade_whose_body_comes_later(runner: Runner, path: str) -> None:
    """Behind that body nothing would ever be answered: a proxy gave such connections to other visitors."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 60000"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n".encode())
    assert b"Connection: close" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    writer.write(b"a" * 60_000)
    assert b"HTTP/1.1 " not in await asyncio.wait_for(reader.read(), 20)
    writer.close()


LENGTHS = {"90000": True, "100000": False, "900000": False, f"{'0' * 20}900000": False, f"{2**64 - 1}": False}


@pytest.mark.parametrize(("size", "is_kept"), LENGTHS.items())
@pytest.mark.parametrize("path", ["/health", "/nothing", "/api/feedback", "/inbox"])
async def test_a_connection_is_kept_or_closed_as_the_answer_to_a_long_body_says(
    runner: Runner, size: str, is_kept: bool, path: str
) -> None:
    """A proxy gives it to another visitor."""
    head = b"GET %b HTTP/1.1\r\nHost: x\r\n" % path.encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    writer.write(head + b"Content-Length: %b\r\n\r\n" % size.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert (b"Connection: close" not in answer) == is_kept
    if is_kept:
        writer.write(b"a" * int(size) + head + b"Connection: close\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 20)).count(b"HTTP/1.1 ") == 1
    writer.close()


async def test_a_body_may_come_in_many_chunks(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.web.request.BODY_SECONDS", 60)
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [(b"80\r\n" + b" " * 128 + b"\r\n") * 50] * 10 + [b"2\r\n{}\r\n0\r\n\r\n"]
    for parts in ([head + b"".join(chunks)], [head, *chunks]):
        assert (await read_all(runner, *parts)).startswith(b"HTTP/1.1 422 ")


async def test_a_body_of_known_length_may_have_any_number_of_lines(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fw.web.request.BODY_SECONDS", 60)
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 60002\r\n\r\n"
    for parts in ([head + b"\r\n" * 30_000 + b"{}"], [head, *[b"\r\n" * 3_000] * 10, b"{}"]):
        assert (await read_all(runner, *parts)).startswith(b"HTTP/1.1 422 ")


async def test_empty_lines_before_a_request_are_no_error(runner: Runner, caplog: pytest.LogCaptureFixture) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert (await read_all(runner, b"\r\n" * 3000, request)).startswith(b"HTTP/1.1 200 ")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_many_requests_may_come_at_once(runner: Runner) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: x\r\nX-Request-ID: %d\r\n\r\n"
    sent = b"".join(request % number for number in range(300))
    answers = await read_all(runner, sent + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answers.count(b"HTTP/1.1 200 ") == 301
    known = [line.split()[1] for line in answers.split(b"\r\n") if line.startswith(b"X-Request-ID: ")]
    assert known[:300] == [b"%d" % number for number in range(300)]


async def test_a_socket_may_send_no_more_if_its_connection_is_old(runner: Runner) -> None:
    url = f"http://127.0.0.1:{port_of(runner)}"
    async with ClientSession() as http:
        headers = await register(http, url)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'"ok"')
    assert runner.server
    for handler in runner.server.connections:
        assert isinstance(handler, ProblemHandler)
        handler._made_at -= 3600
    fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}==")
    lines = ["GET /api/feedback/live HTTP/1.1", "Host: x", f"Authorization: {headers['Authorization']}", *fields]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await reader.readuntil(b'"hello"')
    # A message in pieces that never ends.
    writer.write(b"\x01\x80\x00\x00\x00\x00" + b"\x00\x80\x00\x00\x00\x00" * 10_000)
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 10)
    writer.close()


async def test_a_connection_goes_on_after_a_body_that_nobody_read(runner: Runner) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n"
    answers = await read_all(
        runner, head + b"\r\n", b"a" * 60_000, b"a" * 5536, head + b"Connection: close\r\n\r\n", b"a" * 65536
    )
    assert answers.count(b"HTTP/1.1 404 ") == 2


async def test_the_bytes_of_a_request_do_not_count_against_the_next_one(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fw.web.request.BODY_SECONDS", 60)
    head = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
    chunked = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    requests = [[head, *[(b"a" * 128 + b"\r\n" * 11) * 32] * 12, b"a" * 2400], [head + b"a" * 60_000]] * 2
    for parts in (*requests, [chunked, *[(b"80\r\n" + b"a" * 128 + b"\r\n") * 32] * 14, b"0\r\n\r\n"]):
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.005)
        assert b"HTTP/1.1 400 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n{"), 20)
    writer.close()


@pytest.mark.parametrize("path", ["/api/docs/swagger-ui-bundle.js", ""], ids=["file", "live"])
async def test_a_client_that_leaves_is_no_error_of_the_server(
    runner: Runner, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    head = b"GET /api/feedback/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
        writer.write(
            head + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            if not path
            else f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        )
        if path:
            await reader.readexactly(1)
        writer.transport.abort()

    async def is_empty() -> bool:
        assert runner.server
        return not runner.server.connections

    await until(is_empty)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://x/health", 200),
        ("http://elsewhere.example:8080/health?a=1", 200),
        (f"http://{'xn--' + 'k' * 7000}/health", 200),
        ("http://xn--a/health", 200),
        ("/" * 8000, 404),
        ("/inbox" + "/a" * 3000, 404),
        ("/static/x" + "/.." * 100, 404),
        ("/health?" + "/" * 5000, 200),
    ],
    ids=["absolute", "another host", "a long name", "no name", "slashes", "deep", "up", "query"],
)
async def test_a_target_is_looked_at_in_little_time(runner: Runner, target: str, status: int) -> None:
    answer = await read_all(runner, f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


async def test_the_host_of_a_target_is_never_decoded(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("yarl._url._idna_decode", lambda raw: asked.append(raw) or raw)
    answer = await read_all(runner, b"GET http://xn--kkk/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert asked == []


async def test_a_connection_whose_task_has_failed_is_closed(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(message: object) -> object:
        raise ZeroDivisionError

    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    monkeypatch.setattr(server, "plain", fail)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")

    async def is_closed() -> bool:
        assert runner.server
        return not runner.server.connections

    await until(is_closed, "the connection to be closed")
    writer.transport.abort()


async def test_a_connection_with_one_quick_answer_is_left_alone(runner: Runner) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(runner))
    assert runner.server
    (handler,) = runner.server.connections
    assert isinstance(handler, ProblemHandler)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
    # As if the clock had not moved meanwhile.
    handler._made_at = handler._next_keepalive_close_time - handler._keepalive_timeout
    handler.close_if_silent(handler._made_at + 60)
    assert handler.transport is not None
    assert not handler.transport.is_closing()
    writer.close()
