"""`fw tail`: the live inbox in a terminal."""

import asyncio
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient

from fw.commands.tail import SignedOutError, Tail, line, log_in, tail, token_path
from fw.config import ConfigError
from tests.conftest import MakeClient, MakeUser
from tests.people import Person, body, nothing
from tests.waiting import until


def feedback(**fields: object) -> dict[str, object]:
    return {"created_at": "2026-01-31T12:00:00Z", "message": "Well done!", "metadata": None, "is_read": False, **fields}


def test_tells_an_event_in_a_line() -> None:
    created = line({"event": "created", "cursor": 7, "feedback": feedback(metadata={"rating": 4})})
    assert created.startswith("●      7  ")
    assert created.endswith("  [4] Well done!")
    assert line({"event": "updated", "cursor": 8, "feedback": feedback(is_read=True)}).endswith("read: Well done!")
    assert line({"event": "updated", "cursor": 8, "feedback": feedback()}).endswith("unread: Well done!")
    assert line({"event": "deleted", "cursor": 9, "id": "x"}).endswith("deleted")
    assert line({"event": "resync", "cursor": 9}).endswith("read the list anew")


def test_a_message_cannot_command_the_terminal() -> None:
    told = line({"event": "created", "cursor": 1, "feedback": feedback(message="a\x1b[2Jb\r\nc\u202ed\x07")})
    assert told.isprintable()
    assert told.endswith("a [2Jb c d ")


def test_a_long_message_is_cut_to_the_width() -> None:
    told = line({"event": "created", "cursor": 1, "feedback": feedback(message="x" * 5000)}, 60)
    assert len(told) == 60
    assert told.endswith("…")


def test_colors_only_the_head() -> None:
    told = line({"event": "created", "cursor": 1, "feedback": feedback()}, color=True)
    assert told.startswith("\x1b[1;32m●")
    assert told.endswith("\x1b[0m  Well done!")


async def test_follows_over_a_restart_of_the_server_and_misses_nothing(
    make_client: MakeClient, make_user: MakeUser, unused_tcp_port: int
) -> None:
    async with restarted(make_client, unused_tcp_port) as client:
        user = await make_user(client=client)
        lines: list[str] = []
        follower = Tail(str(client.make_url("/")), user.token, None, lines.append)
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
        await tail(str(client.make_url("/")), None)


async def test_logs_in_once_and_keeps_the_token(user: Person, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = str(user.client.make_url("/")).rstrip("/")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: f" {user.email}\n")
    monkeypatch.setattr("getpass.getpass", lambda: user.password)
    token = await log_in(url)
    assert token_path(url).read_text() == token
    assert token_path(url).stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr("getpass.getpass", lambda: "wrong one")
    with pytest.raises(ConfigError, match="No account has this name and password"):
        await log_in(url)


async def test_asks_nobody_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FW_TOKEN", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(ConfigError, match="nobody is logged in"):
        await tail("http://127.0.0.1:1", None)
