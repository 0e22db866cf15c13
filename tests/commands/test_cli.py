"""The commands of `fw` beside `serve`."""

import asyncio
import os
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient

from fw.cli import main
from fw.commands.command import count
from tests.conftest import SECRET, MakeDatabase
from tests.support.people import PASSWORD, Person, body, nothing, problem


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("FW_JWT_SECRET", SECRET)


async def fw(*arguments: str) -> int:
    """Run a command beside the running server."""
    return await asyncio.to_thread(main, arguments)


@pytest.mark.parametrize("arguments", [[], ["serve"], ["migrate"], ["token"], ["user"], ["user", "premium"]])
def test_help_is_there_for_all(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    assert "usage: fw" in capsys.readouterr().out


def test_migrate_goes_up_and_down_and_tells(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", make_database())
    for arguments, said in (
        (["migrate", "--status"], "missing  0001.accounts"),
        (["migrate"], "applied  0001.accounts"),
        (["migrate"], "nothing to do"),
        (["migrate", "--rollback", "1"], "rolled back  "),
        (["migrate", "--status"], "applied  0001.accounts"),
    ):
        assert main(arguments) == 0
        assert said in capsys.readouterr().out


async def test_user_premium_goes_on_and_off(user: Person, capsys: pytest.CaptureFixture[str]) -> None:
    for state in ("on", "off"):
        assert await fw("user", "premium", user.username.upper(), state) == 0
        assert capsys.readouterr().out == f"premium is {state} for {user.username.upper()}\n"
        assert (await body(await user.get("/api/auth/me")))["is_premium"] is (state == "on")


@pytest.mark.parametrize("arguments", [["user", "premium", "no-such-user", "on"], ["user", "reset", "no-such-user"]])
async def test_an_unknown_user_is_one_line_and_exit_code_1(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert await fw(*arguments) == 1
    assert "fw: there is no user no-such-user\n" in capsys.readouterr().err


async def test_a_billing_token_sets_premium_until_it_is_revoked(user: Person, capsys: pytest.CaptureFixture[str]) -> None:
    assert await fw("token", "--scope", "billing", "--days", "7") == 0
    headers = {"Authorization": f"Bearer {capsys.readouterr().out.strip()}"}
    asked = {"username": user.username, "is_premium": True}
    assert (await body(await user.client.patch("/api/users/premium", json=asked, headers=headers)))["is_premium"] is True
    assert await fw("token", "--list") == 0
    newest = capsys.readouterr().out.splitlines()[0]
    assert "billing  live  until 2" in newest
    assert await fw("token", "--revoke", newest.split()[0]) == 0
    await problem(await user.client.patch("/api/users/premium", json=asked, headers=headers), 401, "unauthorized")
    await fw("token", "--list")
    assert f"{newest.split()[0]}  billing  revoked" in capsys.readouterr().out


@pytest.mark.parametrize("token_id", ["no-id", "00000000-0000-7000-8000-000000000000"])
async def test_an_unknown_token_is_not_revoked(token_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert await fw("token", "--revoke", token_id) == 1
    assert f"fw: there is no token {token_id}" in capsys.readouterr().err


async def test_a_reset_token_sets_a_new_password(client: TestClient, user: Person, capsys: pytest.CaptureFixture[str]) -> None:
    assert await fw("user", "reset", user.username) == 0
    said = capsys.readouterr()
    token = said.out.strip()
    assert f"/reset#token={token}\n" in said.err
    await nothing(await client.post("/api/auth/reset", json={"token": token, "new_password": PASSWORD + "!"}))
    await problem(await user.get("/api/auth/me"), 401, "unauthorized")
    await body(await client.post("/api/auth/login", json={"login": user.email, "password": PASSWORD + "!"}))


def test_a_wrong_setting_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FW_BCRYPT_COST", "much")
    assert main(["migrate"]) == 1
    assert capsys.readouterr().err == "fw: FW_BCRYPT_COST: must be a whole number from 4 to 16, not 'much'\n"


@pytest.mark.parametrize("text", ["0", "-1", "99999"])
def test_numbers_have_bounds(text: str) -> None:
    with pytest.raises(ArgumentTypeError):
        count(text)


@pytest.mark.parametrize("arguments", [["user", "premium", "K\udcf6ln", "on"], ["user", "reset", "K\udcf6ln"]])
def test_a_name_in_another_encoding_is_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "argument name: invalid utf8 value: 'K\\udcf6ln'" in capsys.readouterr().err


def test_a_file_that_cannot_be_had_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", "x" * 300]) == 1
    assert capsys.readouterr().err == f"fw: {'x' * 300}: File name too long\n"


def test_a_folder_that_is_gone_is_one_line_and_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["migrate"]) == 1
    assert capsys.readouterr().err == "fw: No such file or directory\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("openapi > /dev/full", 1, b"fw: No space left on device\n"),
        ("migrate --status > /dev/full", 1, b"fw: No space left on device\n"),
        ("migrate --status >&-", 0, b""),
        ("migrate --status <&- >&- 2>&-", 0, b""),
        ("user reset no-such-user 2>&-", 1, b""),
    ],
)
async def test_what_cannot_be_written_is_told_once(command: str, code: int, said: bytes) -> None:
    process = await asyncio.create_subprocess_shell(
        f"{sys.executable} -m fw {command}", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert await process.communicate() == (b"", said)
    assert process.returncode == code


@pytest.mark.slow
async def test_what_the_terminal_has_no_letters_for_is_spelled_out(tmp_path: Path) -> None:
    path = tmp_path / "Köln.dump"
    command = (sys.executable, "-m", "fw", "backup", path)
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told, complaints = await process.communicate()
    assert process.returncode == 0, complaints
    assert told.endswith(b"K\\xf6ln.dump\n")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["openapi"], ["migrate", "--status"]])
async def test_a_reader_that_has_had_enough_is_no_error(arguments: list[str]) -> None:
    command = f"{sys.executable} -m fw {' '.join(arguments)} | head -c 1"
    process = await asyncio.create_subprocess_shell(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    told, complaints = await process.communicate()
    assert len(told) == 1
    assert complaints == b""
