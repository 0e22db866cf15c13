"""The signing secret that a data directory keeps."""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from fw.commands.doctor.finding import Status, Subject
from fw.commands.doctor.machine import check_secret
from fw.config import Config, ConfigError
from fw.database.kept_secret import Unfit, kept_secret
from tests.support.processes import fw

GOOD = "b7f4a1c98e3d52066f1a0c7d9be8253419ce"
ANEW = "remove it, and the next start makes a new one (everybody has to log in again)"
NOBODY = 65534


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jwt-secret"


def keep(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def refusal(path: Path) -> str:
    """Return why the secret is refused: one line that names the file and says what to do."""
    with pytest.raises(Unfit) as caught:
        kept_secret(path.parent)
    said = str(caught.value)
    assert isinstance(caught.value, ConfigError)
    assert said.splitlines() == [said]
    assert said.startswith(f"FW_DATA_DIR: {path}")
    assert said.endswith(caught.value.advice)
    return said.removeprefix(f"FW_DATA_DIR: {path}").removesuffix(f": {caught.value.advice}")


def test_is_made_once_for_its_owner_alone(path: Path) -> None:
    mask = os.umask(0)
    try:
        secret = kept_secret(path.parent)
    finally:
        os.umask(mask)
    assert re.fullmatch("[0-9a-f]{64}", secret)
    assert path.stat().st_mode & 0o777 == 0o600
    assert kept_secret(path.parent) == secret
    assert [found.name for found in path.parent.iterdir()] == ["jwt-secret"]


def test_is_the_same_for_many_starts_at_once(path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(kept_secret, [path.parent] * 32))
    assert len(found) == 1
    assert [found.name for found in path.parent.iterdir()] == ["jwt-secret"]


def test_is_on_the_disk_before_it_is_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, bool]] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", note)
    kept_secret(path.parent)
    assert synced == [(path.stat().st_ino, False), (path.parent.stat().st_ino, True)]


def test_what_a_killed_start_has_left_does_no_harm(path: Path) -> None:
    for name, content in ((f"jwt-secret.{os.getpid()}", b""), ("jwt-secret.x1y2z3", GOOD.encode()[:7])):
        keep(path.with_name(name), content, 0o644)
    assert len(kept_secret(path.parent)) == 64
    assert path.stat().st_mode & 0o777 == 0o600


def test_takes_one_that_was_put_there(path: Path) -> None:
    keep(path, f"  {GOOD}\n".encode())
    assert kept_secret(path.parent) == GOOD
    keep(path, ("ä" * 16).encode(), 0o400)
    assert kept_secret(path.parent) == "ä" * 16


@pytest.mark.parametrize("content", [b"", b"\n", b"abc", b"x" * 31, b" " * 40 + b"x", "ä".encode() * 15])
def test_refuses_a_short_one(path: Path, content: bytes) -> None:
    keep(path, content)
    assert refusal(path) == f" has {len(content.strip())} bytes, and a secret needs 32"
    with pytest.raises(Unfit, match=re.escape(ANEW)):
        kept_secret(path.parent)
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o604, 0o602, 0o666])
def test_refuses_one_that_others_may_read_or_write(path: Path, mode: int) -> None:
    keep(path, GOOD.encode(), mode)
    assert refusal(path) == " may be read or written by others"
    with pytest.raises(Unfit, match=f": chmod 600 {path}$"):
        kept_secret(path.parent)


def test_refuses_what_is_not_utf8(path: Path) -> None:
    keep(path, b"\xff" * 40)
    assert refusal(path) == " is not text in UTF-8"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_refuses_what_is_no_file(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    assert refusal(path) == " is not a file"


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be somebody else for a while if this is root, who may read everything."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_refuses_what_cannot_be_read(path: Path) -> None:
    keep(path, GOOD.encode(), 0)
    with without_privileges():
        assert refusal(path) == ": Permission denied"


def test_says_where_none_can_be_made(path: Path) -> None:
    assert refusal(path.parent / "no" / "where" / path.name) == ": No such file or directory"


async def test_the_doctor_agrees(path: Path) -> None:
    subject = Subject(config=Config(data_dir=path.parent), is_embedded=True)
    assert (await check_secret(subject)).status is Status.OK
    keep(path, b"abc")
    finding = await check_secret(subject)
    assert (finding.status, finding.detail) == (Status.FAILED, f"{path} has 3 bytes, and a secret needs 32")
    keep(path, GOOD.encode(), 0o644)
    finding = await check_secret(subject)
    assert (finding.status, finding.advice) == (Status.FAILED, f"chmod 600 {shlex.quote(str(path))}")
    given = Subject(config=Config(data_dir=path.parent, jwt_secrets=(GOOD,)), is_embedded=True)
    assert (await check_secret(given)).status is Status.OK


@pytest.mark.slow
async def test_a_start_with_one_that_is_unfit_ends_with_one_line(tmp_path: Path) -> None:
    folder = tmp_path / ".fw"
    folder.mkdir()
    keep(folder / "jwt-secret", b"abc")
    async with fw("serve", folder=tmp_path, FW_LOG_LEVEL="WARNING") as server:
        assert await server.ended() == 1
        assert server.output == f"fw: FW_DATA_DIR: {folder}/jwt-secret has 3 bytes, and a secret needs 32: {ANEW}\n"
    async with fw("doctor", folder=tmp_path) as doctor:
        assert await doctor.ended() == 1
    assert f"FAILED   secret          {folder}/jwt-secret has 3 bytes" in doctor.output
    assert "ok       database" in doctor.output
