"""`fw tail`: the live inbox in a terminal."""

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fw.commands.tail.follow import SignedOutError, Tail, tail
from fw.commands.tail.login import kept_token, log_in, new_token, token_path
from fw.commands.tail.troubles import server_url
from fw.config import ConfigError
from tests.conftest import MakeClient, MakeUser
from tests.support.people import Person, body, nothing
from tests.support.processes import Process, environment, fw
from tests.support.servers import certificate, listening, silence
from tests.support.waiting import until

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answering(*answers: Answer) -> AsyncIterator[str]:
    """Answer each attempt to follow by the next of these, the later ones by the last, and give the URL."""
    left = list(answers)

    async def follow(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    app = web.Application()
    app.router.add_get("/api/feedback/live", follow)
    app.router.add_post("/api/auth/login", follow)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def status(number: int, **options: object) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=number, **options)  # type: ignore[arg-type]

    return answer


def sending(frames: Sequence[str | bytes], *, code: int | None = None) -> Answer:
    """Greet and send frames, then close with a code, or stay."""

    async def answer(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_json({"event": "hello", "cursor": 0, "unread_count": 0})
        for frame in frames:
            await (ws.send_str(frame) if isinstance(frame, str) else ws.send_frame(frame, web.WSMsgType.TEXT))
        if code:
            await ws.close(code=code)
        async for _ in ws:
            pass
        return ws

    return answer


class Following:
    """`fw tail` on a server, as long as the test is about it."""

    def __init__(self, url: str, token: str = "a-token", since: int | None = 0) -> None:
        self.lines: list[str] = []
        self.said: list[str] = []
        self.tail = Tail(url, token, since, self.lines.append, say=self.said.append)

    async def __aenter__(self) -> "Following":
        self.task = asyncio.create_task(self.tail.follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def has_told(self, count: int) -> None:
        await self._until(lambda: len(self.lines) == count, f"{count} lines")

    async def has_said(self, *said: str) -> None:
        await self._until(lambda: len(self.said) == len(said), f"{len(said)} complaints")
        assert self.said == list(said)

    async def has_complained(self) -> None:
        await self._until(lambda: bool(self.said), "a complaint")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        async def holds() -> bool:
            if self.task.done():
                self.task.result()
            return condition()

        await until(holds, f"{what}; lines: {self.lines}, said: {self.said}")


async def test_follows_over_a_restart_of_the_server_and_misses_nothing(
    make_client: MakeClient, make_user: MakeUser, unused_tcp_port: int
) -> None:
    async with restarted(make_client, unused_tcp_port) as client:
        user = await make_user(client=client)
        lines: list[str] = []
        follower = Tail(str(client.make_url("/")), user.token, None, lines.append, say=lambda _: None)
        following = asyncio.create_task(follower.follow())

        async def connected() -> bool:
            return follower.cursor is not None

        await until(connected)
        await user.receive("before")
    # While the server is away another process takes something in.
    other = await make_client()
    await body(await other.post(f"/api/feedback/{user.username}", json={"message": "while away"}), 201)
    async with restarted(make_client, unused_tcp_port) as client:
        await body(await client.post(f"/api/feedback/{user.username}", json={"message": "after"}), 201)

        async def told() -> bool:
            return len(lines) == 3

        await until(told, f"three lines, not {lines}")
    following.cancel()
    assert [text.split("  ", 2)[-1].split("  ")[-1] for text in lines] == ["before", "while away", "after"]


def restarted(make_client: MakeClient, port: int) -> "Restarted":
    return Restarted(make_client, port)


class Restarted:
    """A server on a port of its own, which is given back at the end."""

    def __init__(self, make_client: MakeClient, port: int) -> None:
        self.make_client, self.port = make_client, port

    async def __aenter__(self) -> TestClient:
        self.client = await self.make_client(server={"port": self.port})
        return self.client

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()


async def test_ends_when_the_token_does(user: Person) -> None:
    follower = Tail(str(user.client.make_url("/")), user.token, 0, lambda _: None)
    following = asyncio.create_task(follower.follow())
    await user.receive()

    async def connected() -> bool:
        return follower.cursor == 1

    await until(connected)
    await nothing(await user.post("/api/auth/logout"))
    with pytest.raises(SignedOutError):
        await following


async def test_says_that_a_given_token_is_not_valid(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FW_TOKEN", "nonsense")
    with pytest.raises(ConfigError, match="FW_TOKEN is not, or no longer, valid"):
        await asyncio.to_thread(tail, str(client.make_url("/")), None)


async def test_logs_in_once_and_keeps_the_token(user: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = str(user.client.make_url("/")).rstrip("/")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: f" {user.email}\n")
    monkeypatch.setattr("getpass.getpass", lambda: user.password)
    token = await asyncio.to_thread(log_in, url)
    assert token_path(url).read_text() == token
    assert token_path(url).stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr("getpass.getpass", lambda: "wrong one")
    with pytest.raises(ConfigError, match="No account has this name and password"):
        await asyncio.to_thread(log_in, url)


def test_asks_nobody_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FW_TOKEN", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ConfigError, match="nobody is logged in"):
        tail("http://127.0.0.1:1", None)


# Frames


async def test_a_number_that_no_double_holds_stops_nobody(user: Person, sql: asyncpg.Connection) -> None:
    """The server has taken such numbers, and they are stored."""
    first = await user.receive("with a long number", metadata={"rating": 3})
    await sql.execute(
        "UPDATE feedback SET metadata = ('{\"rating\": 3, \"n\": ' || repeat('9', 401) || '}')::json WHERE id = $1", first
    )
    await user.receive("after it")
    async with Following(str(user.client.make_url("/")), user.token) as following:
        await following.has_told(2)
    assert [line.split("  ")[-1] for line in following.lines] == ["[3] with a long number", "after it"]
    assert following.tail.cursor == 2


async def test_goes_on_after_any_bad_frame() -> None:
    feedback = {"created_at": "2026-01-31T12:00:00Z", "message": "Well done!", "metadata": None, "is_read": False}
    bad: list[str | bytes] = ["nonsense", "[]", "7", '"a text"', b"\xff\xfe", "{}", '{"cursor": "x"}', '{"event": "created"}']
    bad += [json.dumps({"event": kind, "cursor": 7, "feedback": {"message": 7}}) for kind in ("created", "\x1b[2Jnew", 7)]
    good = json.dumps({"event": "created", "cursor": 8, "feedback": feedback})
    async with answering(sending([*bad, good])) as url, Following(url) as following:
        await following.has_told(len(bad) + 1)
    assert all(line.startswith("?") and line.isprintable() for line in following.lines[:-1]), following.lines
    assert following.lines[-1].endswith("Well done!")
    assert following.said == []


async def test_a_bad_frame_with_a_cursor_does_not_come_again() -> None:
    asked: list[str] = []

    async def once(request: web.Request) -> web.StreamResponse:
        asked.append(request.query["since"])
        return await sending(['{"event": "created", "cursor": 41}'] if len(asked) == 1 else [], code=1012)(request)

    async with answering(once) as url, Following(url):

        async def came_back() -> bool:
            return len(asked) > 1

        await until(came_back)
    assert asked[:2] == ["0", "41"]


async def test_takes_frames_of_bytes_for_frames_of_text() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        await ws.send_bytes(b'{"event": "deleted", "cursor": 3}')
        await ws.receive()
        return ws

    async with answering(answer) as url, Following(url) as following:
        await following.has_told(1)
    assert following.tail.cursor == 3


# Troubles


async def test_says_once_that_nobody_answers_and_that_somebody_does_again(
    make_client: MakeClient, user: Person, unused_tcp_port: int
) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    trouble = f"{url} does not answer: connection refused; trying again"
    async with Following(url, user.token) as following:
        await following.has_said(trouble)
        async with restarted(make_client, unused_tcp_port):
            await following.has_said(trouble, f"{url} answers again")
            await user.receive("Hello")
            await following.has_told(1)


async def test_tells_other_reasons_for_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await reader.read(1)

    monkeypatch.setattr("fw.commands.tail.follow.CONNECT_SECONDS", 0.5)
    async with listening(hang_up) as mute, listening(greet) as other, silence() as silent:
        for url, said in (
            (f"http://127.0.0.1:{mute}", "."),
            (f"http://127.0.0.1:{other}", "."),
            (f"http://127.0.0.1:{silent}", "nothing came in time"),
            ("http://no-such-host.invalid", "."),
        ):
            async with Following(url) as following:
                await following.has_complained()
            assert re.fullmatch(f"{url} does not answer: {said}.*; trying again", following.said[0])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_tells_what_is_wrong_with_a_certificate(tmp_path: Path) -> None:
    _, context = certificate(tmp_path)
    async with listening(lambda reader, _: reader.read(), context) as port, Following(f"https://localhost:{port}") as following:
        await following.has_complained()
    assert "certificate verify failed" in following.said[0]


@pytest.mark.parametrize(("number", "words"), [(429, "Too Many Requests"), (503, "Service Unavailable"), (500, "Internal")])
async def test_waits_until_a_refusal_has_passed(number: int, words: str) -> None:
    good = sending(['{"event": "deleted", "cursor": 1}'])
    async with answering(status(number), status(number), good) as url, Following(url) as following:
        await following.has_told(1)
    assert following.said[0].startswith(f"{url} answers {number} {words}")
    assert following.said[1:] == [f"{url} answers again"]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (200, "200 OK: that is no live channel of FeedbackWave"),
        (401, "401 Unauthorized: that is no live channel of FeedbackWave"),
        (403, "403 Forbidden: this token may not follow an inbox"),
        (404, "404 Not Found: there is no FeedbackWave at that URL"),
        (422, "422 Unprocessable Entity: it does not take this cursor"),
        (426, "426 Upgrade Required: something on the way there does not pass WebSockets on"),
    ],
)
async def test_ends_where_trying_again_cannot_help(number: int, words: str) -> None:
    async with answering(status(number)) as url, Following(url) as following:
        with pytest.raises(ConfigError) as caught:
            await following.task
    assert str(caught.value) == f"{url} answers {words}"
    assert following.said == []


async def test_the_server_itself_refuses_a_cursor_that_is_none_and_a_path_that_is_none(user: Person) -> None:
    url = str(user.client.make_url("/"))
    for place, since, said in ((url, 2**63, "answers 422 "), (f"{url}nowhere", 0, "answers 404 ")):
        async with Following(place, user.token, since) as following:
            with pytest.raises(ConfigError, match=said):
                await following.task


async def test_does_not_follow_to_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"Location": "https://elsewhere.example/\u202e"}
    async with answering(status(301, headers=headers)) as url:
        async with Following(url) as following:
            with pytest.raises(ConfigError, match=f"{url} redirects to https://elsewhere.example/.*: give --url"):
                await following.task
        monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
        monkeypatch.setattr("builtins.input", lambda: "you")
        monkeypatch.setattr("getpass.getpass", lambda: "a password")
        with pytest.raises(ConfigError, match=f"{url} redirects to https://elsewhere.example/.*: give --url"):
            await asyncio.to_thread(log_in, url)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1012, "it restarts"),
        (4400, "it was sent what it does not take"),
        (4408, "this reader is too slow"),
        (4429, "this account has as many readers as it may"),
        (4999, "code 4999"),
    ],
)
async def test_says_why_the_server_has_closed_the_connection(code: int, words: str) -> None:
    good = sending(['{"event": "deleted", "cursor": 1}'])
    async with answering(sending([], code=code), good) as url, Following(url) as following:
        await following.has_told(1)
    assert following.said == [f"{url} closed the connection: {words}; trying again", f"{url} answers again"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "127.0.0.1:8080", "ftp://a.example", "http://", "http:///api", "http://a.example:x", "http://a:99999"),
        *("http://me:hush@a.example", "http://a.example?x", "http://a.example/#x", "http://[::1", "http://a\x00b/", "ws://a"),
    ],
)
def test_refuses_what_is_no_url_of_a_server(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--url: .* is not the URL of a server \(http://127.0.0.1:8080\)$") as caught:
        server_url(text)
    assert str(caught.value).isprintable()


def test_takes_a_url_with_a_path_and_a_slash() -> None:
    assert server_url("https://a.example/feedback/") == "https://a.example/feedback"


async def test_a_host_that_no_resolver_takes_is_none() -> None:
    """A label of a name has 63 characters at most."""
    url = f"http://{'a' * 64}.example"
    with pytest.raises(ConfigError, match="is not the URL of a server"):
        await Tail(url, "a-token", 0, print).follow()
    with pytest.raises(ConfigError, match="is not the URL of a server"):
        await new_token(url, {})


# Logging in


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(200, text="<html>"), "answers 200 OK, and not as FeedbackWave does"),
        (status(200, text="[]"), "answers 200 OK, and not as FeedbackWave does"),
        (status(200, text='{"access_token": 7}'), "answers 200 OK, and not as FeedbackWave does"),
        (status(401, text='{"detail": 7}'), "answers 401 Unauthorized, and not as FeedbackWave does"),
        (status(500, body=b"\xff"), "answers 500 Internal Server Error, and not as FeedbackWave does"),
        (status(429, text='{"detail": "Too many."}'), "^Too many.$"),
    ],
)
async def test_says_what_a_login_came_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: Answer, said: str) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: "you")
    monkeypatch.setattr("getpass.getpass", lambda: "a password")
    async with answering(answer) as url:
        with pytest.raises(ConfigError, match=said):
            await asyncio.to_thread(log_in, url)
    with pytest.raises(ConfigError, match="does not answer: connection refused"):
        await asyncio.to_thread(log_in, url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [b"", b"\xff\xfe", b"two\nlines", "ä".encode()])
def test_a_kept_token_that_is_none_counts_as_none(kept: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    url = "http://a.example"
    token_path(url).parent.mkdir()
    token_path(url).write_bytes(kept)
    assert kept_token(url) == ""


@pytest.mark.parametrize("token", ["two\nlines", "ä", "\udcff"])
def test_refuses_a_given_token_that_cannot_be_sent(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FW_TOKEN", token)
    with pytest.raises(ConfigError, match=r"^FW_TOKEN: has characters that no token has$"):
        tail("http://127.0.0.1:1", None)


# The command


@pytest.mark.slow
async def test_the_command_ends_with_one_line(user: Person, tmp_path: Path) -> None:
    url = str(user.client.make_url("/"))
    for arguments, said in (
        (["--url", "nonsense"], "fw: --url: 'nonsense' is not the URL of a server (http://127.0.0.1:8080)"),
        (["--url", f"{url}nowhere"], f"fw: {url}nowhere answers 404 Not Found: there is no FeedbackWave at that URL"),
        (["--url", url], "fw: FW_TOKEN is not, or no longer, valid"),
    ):
        async with fw("tail", *arguments, folder=tmp_path, FW_TOKEN="a-token") as process:
            assert await process.ended() == 1
            assert process.output == f"{said}\n"


@pytest.mark.slow
async def test_the_command_ends_when_nobody_reads_it_any_more(user: Person, tmp_path: Path) -> None:
    for text in ("one", "two", "three"):
        await user.receive(text)
    command = f"{sys.executable} -m fw tail --since 0 --url {user.client.make_url('/')} | head -n 1"
    env = environment({"FW_TOKEN": user.token})
    process = await asyncio.create_subprocess_shell(command, env=env, stdout=-1, stderr=-1)
    reading = asyncio.create_task(process.communicate())

    async def ended() -> bool:
        # Whether the pipe is broken is seen with the next event.
        await user.receive("more")
        return reading.done()

    await until(ended, "the command to end")
    told, complaints = await reading
    assert told.decode().endswith("one\n")
    assert complaints == b""


@pytest.mark.slow
@pytest.mark.parametrize(("key", "said"), [(b"\x03", "fw: interrupted"), (b"\x04", "fw: nobody is logged in")])
async def test_the_question_for_a_name_can_be_declined(key: bytes, said: str, tmp_path: Path) -> None:
    """By the keys Ctrl-C and Ctrl-D, in a terminal."""
    ours, theirs = pty.openpty()
    log = tmp_path / "terminal.log"
    started = await asyncio.create_subprocess_exec(
        *("setsid", "--ctty", "--wait", sys.executable, "-m", "fw", "tail", "--url", "http://127.0.0.1:1"),
        env=environment({"XDG_CONFIG_HOME": str(tmp_path)}),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    asyncio.get_running_loop().add_reader(ours, copy, ours, log)
    log.touch()
    process = Process(started, log)
    try:

        async def asks() -> bool:
            return process.output.endswith("e-mail: ")

        await until(asks, "the question")
        os.write(ours, key)
        assert await process.ended() == 1
        assert process.output.splitlines()[-1] == said
    finally:
        if started.returncode is None:
            started.send_signal(signal.SIGKILL)
            await started.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)


def copy(source: int, log: Path) -> None:
    """Keep what appears on a terminal."""
    try:
        text = os.read(source, 4096)
    except OSError:
        return
    with log.open("ab") as file:
        file.write(text)
