"""Connections between two requests: what they keep in memory, and when they make room."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from fw.server import Runner
from fw.web import connections
from fw.web.connections import CLOSED, ProblemServer
from fw.web.protocol import ProblemHandler
from fw.web.request import BODY
from tests.support.people import register
from tests.support.waiting import until

WITH_BODY = b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
HALF = b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"


def server_of(runner: Runner) -> ProblemServer:
    assert isinstance(runner.server, ProblemServer)
    return runner.server


def handlers(runner: Runner) -> list[ProblemHandler]:
    return [each for each in server_of(runner).connections if isinstance(each, ProblemHandler)]


async def connect(runner: Runner, *parts: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
    for part in parts:
        writer.write(part)
        await asyncio.sleep(0.02)
    return reader, writer


@asynccontextmanager
async def unread(runner: Runner) -> AsyncIterator[ProblemHandler]:
    """Ask for something long, and do not read the answer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, runner.addresses[0][:2])

    async def is_there() -> bool:
        return len(handlers(runner)) == 1

    await until(is_there)
    (handler,) = handlers(runner)
    assert handler.transport is not None
    # The kernel takes little of the answer: most of it waits in this process, and nobody waits for that.
    handler.transport.set_write_buffer_limits(1 << 24)
    handler.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    await loop.sock_sendall(sock, b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")

    async def waits() -> bool:
        return handler.transport is not None and handler.transport.get_write_buffer_size() > 0

    try:
        await until(waits)
        yield handler
    finally:
        sock.close()


async def idle(handler: ProblemHandler) -> None:
    async def is_idle() -> bool:
        return handler.idle_until is not None

    await until(is_idle)


async def gone(runner: Runner, seconds: float = 15.0) -> None:
    async def are_gone() -> bool:
        return not handlers(runner)

    await until(are_gone, seconds=seconds)


async def kept_by(handler: ProblemHandler) -> dict[str, Any]:
    """Return what a connection has of its last request, once it is idle."""
    await idle(handler)
    task: Any = handler._task_handler
    return dict(task.get_coro().cr_frame.f_locals)


async def test_an_idle_connection_keeps_neither_the_last_body_nor_the_last_answer(runner: Runner) -> None:
    """4,000 of them kept 250 MB."""
    reader, writer = await connect(runner, HALF, b'{"username": "' + b"a" * 59_984 + b'"}')
    assert b"HTTP/1.1 422 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n{"), 20)
    (handler,) = handlers(runner)
    kept = await kept_by(handler)
    assert BODY not in kept["request"]
    assert kept["resp"].status == 422
    assert kept["resp"].body is None
    # It goes on as usual.
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP/1.1 200 " in await asyncio.wait_for(reader.readuntil(b'"ok"'), 20)
    writer.close()


async def test_an_idle_connection_keeps_no_body_that_nobody_read(runner: Runner) -> None:
    """4,000 of them kept 470 MB."""
    body = b"a" * 120_000
    asked = b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 120000\r\n\r\n" + body
    reader, writer = await connect(runner)
    for _ in range(2):
        # The kernel would cut it into pieces, of which the last ones come after the answer.
        (handler,) = handlers(runner)
        handler.data_received(asked)
        assert b"HTTP/1.1 200 " in await asyncio.wait_for(reader.readuntil(b'"ok"'), 20)
        assert (await kept_by(handler))["payload"]._size == 0
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP/1.1 200 " in await asyncio.wait_for(reader.readuntil(b'"ok"'), 20)
    writer.close()


@pytest.mark.parametrize("rounds", range(6))
async def test_an_idle_connection_keeps_no_body_that_came_just_after_its_answer(runner: Runner, rounds: int) -> None:
    """6,000 of them kept 350 MB."""
    reader, writer = await connect(runner)
    (handler,) = handlers(runner)
    handler.data_received(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
    body = handler._body

    while handler._answered is not body:
        await asyncio.sleep(0)
    for _ in range(rounds):
        await asyncio.sleep(0)
    handler.data_received(b"a" * 60_000)
    await idle(handler)
    assert body._size == 0
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"HTTP/1.1 200 " in await asyncio.wait_for(reader.readuntil(b'"ok"'), 20)
    writer.close()


async def test_requests_that_wait_for_their_turn_count_until_they_are_answered(runner: Runner) -> None:
    """600 connections whose first answer was not read took 1.9 GB."""
    port = runner.addresses[0][1]
    async with ClientSession() as http:
        token = (await register(http, f"http://127.0.0.1:{port}", f"u{uuid4().hex[:12]}"))["Authorization"]
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 7000) for number in range(3))
    poll = f"GET /api/feedback/changes?since=0&wait=1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode()
    reader, writer = await connect(runner, poll)
    for _ in range(6):
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.01)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
    unfinished = server_of(runner).unfinished

    async def are_counted() -> bool:
        return unfinished.size > 20_000

    async def are_forgotten() -> bool:
        return unfinished.size == 0

    await until(are_counted)
    # The last head is long: with its answer the connection ends.
    assert (await asyncio.wait_for(reader.read(), 20)).count(b"HTTP/1.1 200 ") == 8
    await until(are_forgotten)
    writer.close()


async def test_a_connection_that_has_to_make_room_takes_nothing_more(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop may read some megabytes of a connection before it closes it."""
    server = server_of(runner)
    reader, writer = await connect(runner, HALF)
    (handler,) = handlers(runner)
    monkeypatch.setattr(server.unfinished, "_most", 50_000)
    handler.data_received(b"a" * 60_000)
    assert server.unfinished.size == 0
    for _ in range(100):
        handler.data_received(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert len(handler._messages) == 0
    with contextlib.suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(), 20) == b""
    writer.close()


async def test_a_connection_is_not_kept_after_very_many_fields(runner: Runner) -> None:
    fields = b"".join(b"X-%d: a\r\n" % number for number in range(80))
    reader, writer = await connect(runner, b"GET /health HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
    assert (await asyncio.wait_for(reader.read(), 20)).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_an_idle_connection_makes_room_at_once_although_its_client_takes_nothing(runner: Runner) -> None:
    async with unread(runner) as handler:
        await idle(handler)
        server_of(runner)._make_room(asyncio.get_running_loop().time())
        await gone(runner, seconds=5)


async def test_a_connection_that_is_to_be_closed_is_closed_if_the_client_takes_nothing(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kept 250 kB, and its descriptor, for as long as the client liked."""
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.2)
    async with unread(runner) as handler:
        handler.force_close()
        await gone(runner)


CHUNKED = b"POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
TRAILERS = b"".join(b"X%d: %s\r\n" % (number, b"a" * 50) for number in range(120)) + b"\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [CHUNKED + b"0\r\n" + TRAILERS],
        [CHUNKED, b"0\r\n" + TRAILERS],
        [CHUNKED + b"ea60\r\n" + b"a" * 60_000, b"\r\n0\r\n" + TRAILERS],
        [CHUNKED + b"0\r\n" + TRAILERS[:2_000], TRAILERS[2_000:]],
        [CHUNKED + b"0\r\n" + b"a:b\r\n" * 100 + b"\r\n"],
    ],
    ids=["at once", "after the head", "after a body", "in two parts", "tiny"],
)
async def test_a_connection_is_not_kept_after_trailers(runner: Runner, parts: list[bytes]) -> None:
    """The parser keeps them as it does the head, some 400 bytes each, and shows nobody that there are any."""
    reader, writer = await connect(runner, *parts)
    answer = await asyncio.wait_for(reader.read(), 20)
    assert answer.count(b"HTTP/1.1 404 ") == 1
    assert b"Connection: close\r\n" in answer
    writer.close()


LONG_HEAD = b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 8000) for n in range(5)) + b"\r\n"


@pytest.mark.parametrize("first", [WITH_BODY, b""], ids=["body", "request"])
async def test_a_head_that_begins_with_the_end_of_what_came_before_counts(runner: Runner, first: bytes) -> None:
    reader, writer = await connect(runner, first)
    (handler,) = handlers(runner)
    if first:
        assert b"HTTP/1.1 200 " in await asyncio.wait_for(reader.readuntil(b'"ok"'), 20)
    handler.data_received((b"a" * 10 if first else b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n") + LONG_HEAD[:-2])
    assert server_of(runner).unfinished.size > 40_000
    handler.data_received(LONG_HEAD[-2:])
    # Its own 400 ends the connection.
    assert (await asyncio.wait_for(reader.read(), 20)).count(b"HTTP/1.1 400 ") == 1
    writer.close()


async def test_a_short_request_counts_no_more_once_it_is_answered(runner: Runner) -> None:
    asked = WITH_BODY + b"a" * 10
    reader, writer = await connect(runner)
    for parts in (
        [asked],
        [asked[:-5], asked[-5:]],
        [asked * 3],
        [asked[:-5], asked[-5:] + asked],
    ):
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.02)
    answers = b""
    while answers.count(b"HTTP/1.1 ") < 7:
        answers += await asyncio.wait_for(reader.read(65536), 20)

    async def are_forgotten() -> bool:
        return server_of(runner).unfinished.size == 0 and handlers(runner)[0].idle_until is not None

    await until(are_forgotten)
    writer.close()


async def test_a_body_that_comes_after_its_answer_counts_no_more_once_it_has_come(runner: Runner) -> None:
    reader, writer = await connect(runner, b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
    assert b"HTTP/1.1 200 " in await asyncio.wait_for(reader.readuntil(b'"ok"'), 20)
    (handler,) = handlers(runner)
    for size in (30_000, 30_000):
        assert handler.idle_until is None
        handler.data_received(b"a" * size)
    assert server_of(runner).unfinished.size == 0
    writer.close()


@pytest.mark.parametrize(("count", "are_closed"), [(CLOSED, True), (CLOSED - 1, False)])
async def test_many_requests_that_do_not_become_whole_make_room_before_idle_connections(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, count: int, are_closed: bool
) -> None:
    monkeypatch.setattr(connections, "WHOLE_SECONDS", 0.0)
    writers = [(await connect(runner, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"))[1]]
    writers += [(await connect(runner, HALF + b"{"))[1] for _ in range(count)]

    async def have_come() -> bool:
        return len(server_of(runner).unfinished) == count and len(handlers(runner)) == count + 1

    await until(have_come)
    server_of(runner)._make_room(asyncio.get_running_loop().time())

    async def are_left() -> bool:
        idle = [each for each in handlers(runner) if each.idle_until is not None]
        return (len(handlers(runner)), len(idle)) == ((1, 1) if are_closed else (count, 0))

    await until(are_left)
    for writer in writers:
        writer.close()


async def test_idle_connections_make_room_before_the_few_requests_that_do_not_become_whole(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An honest upload may be slow, and others can begin as many as they like."""
    monkeypatch.setattr(connections, "WHOLE_SECONDS", 0.0)
    monkeypatch.setattr(connections, "IDLE_SECONDS", 60.0)
    writers = [(await connect(runner, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"))[1] for _ in range(CLOSED + 4)]
    writers += [(await connect(runner, HALF + b"{"))[1] for _ in range(CLOSED)]

    async def are(idle: int, unfinished: int) -> bool:
        found = [each.idle_until is not None for each in handlers(runner)]
        return (found.count(True), len(found)) == (idle, idle + unfinished)

    await until(lambda: are(CLOSED + 4, CLOSED))
    now = asyncio.get_running_loop().time()
    server_of(runner)._make_room(now)
    await until(lambda: are(4, CLOSED))
    # The others are most now, but too young.
    monkeypatch.setattr(connections, "WHOLE_SECONDS", 60.0)
    server_of(runner)._make_room(now)
    await until(lambda: are(0, CLOSED))
    monkeypatch.setattr(connections, "WHOLE_SECONDS", 0.0)
    server_of(runner)._make_room(asyncio.get_running_loop().time())
    await until(lambda: are(0, 0))
    for writer in writers:
        writer.close()


async def test_requests_that_are_begun_anew_again_and_again_make_room_if_nothing_else_does(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,100 of them, each ended and begun within 5 s, kept newcomers out."""
    monkeypatch.setattr(connections, "WHOLE_SECONDS", 60.0)
    writers = [(await connect(runner, HALF + b"{"))[1] for _ in range(CLOSED + 4)]
    await until(lambda: asyncio.sleep(0, len(server_of(runner).unfinished) == CLOSED + 4))
    server_of(runner)._make_room(asyncio.get_running_loop().time())
    await until(lambda: asyncio.sleep(0, len(handlers(runner)) == 4))
    for writer in writers:
        writer.close()


async def test_requests_that_go_on_are_spared_when_those_that_do_not_become_whole_make_room(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An honest upload may be slow, and have begun before all others."""
    monkeypatch.setattr(connections, "WHOLE_SECONDS", 0.0)
    writers = [(await connect(runner, HALF + b"{"))[1]]
    await until(lambda: asyncio.sleep(0, len(server_of(runner).unfinished) == 1))
    (honest,) = handlers(runner)
    writers += [(await connect(runner, HALF + b"{"))[1] for _ in range(CLOSED)]
    await until(lambda: asyncio.sleep(0, len(server_of(runner).unfinished) == CLOSED + 1))
    honest.data_received(b" ")
    server_of(runner)._make_room(asyncio.get_running_loop().time())
    await until(lambda: asyncio.sleep(0, handlers(runner) == [honest]))
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("rest", [b"ZZ\r\n", b"1\r\n \r\n" * 2000], ids=["invalid", "many"])
@pytest.mark.parametrize("rounds", range(6))
async def test_a_part_of_a_body_is_never_taken_for_whole_whenever_the_rest_is_refused(
    runner: Runner, rest: bytes, rounds: int
) -> None:
    """Between two rounds of the event loop it had the first part stored, with 201."""
    async with ClientSession() as http:
        name = f"u{uuid4().hex[:12]}"
        headers = await register(http, f"http://127.0.0.1:{runner.addresses[0][1]}", name)
        known = handlers(runner)
        reader, writer = await connect(runner)
        await until(lambda: asyncio.sleep(0, len(handlers(runner)) == 2))
        [handler] = [each for each in handlers(runner) if each not in known]
        head = f"POST /api/feedback/{name} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        handler.data_received(head + b'14\r\n{"message": "Hello"}\r\n')
        for _ in range(rounds):
            await asyncio.sleep(0)
        handler.data_received(rest)
        assert (await asyncio.wait_for(reader.readline(), 20)).split()[1] == b"400"
        writer.close()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/api/feedback"
        async with http.get(url, headers=headers) as answer:
            assert (await answer.json())["items"] == []


async def test_a_body_in_many_chunks_that_comes_after_its_answer_is_no_error_of_the_server(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await connect(runner, CHUNKED)
    assert b"HTTP/1.1 404 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n{"), 20)
    for _ in range(8):
        writer.write(b"1\r\na\r\n" * 200)
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), 20)
    await gone(runner)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []
    writer.close()
