"""Where the embedded PostgreSQL lives; as root it runs as another user, who has to get there and to nothing else."""

import logging
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fw.config import ConfigError
from fw.database import embedded
from fw.database.embedded import SYSTEM_USER, let_pass, may_pass
from tests.support.processes import fw

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="is about root")

TAG_USER_OBJ, TAG_USER, TAG_GROUP_OBJ, TAG_MASK, TAG_OTHER = 1, 2, 4, 16, 32
"""What an entry of an access list is about (linux/posix_acl.h)."""


@pytest.fixture
def owner(server_url: str) -> pwd.struct_passwd:
    """The user that the server of the tests runs as."""
    return pwd.getpwnam(SYSTEM_USER)


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder that everybody gets to. Not in pytest's own: another run of root's closes that."""
    with tempfile.TemporaryDirectory(prefix="fw-embedded-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def mode(folder: Path) -> int:
    return stat.S_IMODE(folder.stat().st_mode)


def changed(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return which folders the log names, in order."""
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    return [record.getMessage().split(" through ")[1].split(" (chmod o+x)")[0] for record in caplog.records]


@as_root
def test_opens_only_what_is_closed_and_says_so(top: Path, owner: pwd.struct_passwd, caplog: pytest.LogCaptureFixture) -> None:
    below = top / "closed" / "open" / "closed-too"
    below.mkdir(parents=True)
    for folder, bits in ((top / "closed", 0o700), (top / "closed" / "open", 0o751), (below, 0o750)):
        folder.chmod(bits)
    let_pass(below, owner)
    assert changed(caplog) == [str(top / "closed"), str(below)]
    assert [mode(folder) for folder in (top / "closed", top / "closed" / "open", below)] == [0o701, 0o751, 0o751]
    caplog.clear()
    let_pass(below, owner)
    assert changed(caplog) == []


@as_root
def test_leaves_alone_what_the_user_gets_through_otherwise(
    top: Path, owner: pwd.struct_passwd, caplog: pytest.LogCaptureFixture
) -> None:
    for name, uid, gid, bits in (("own", owner.pw_uid, 0, 0o700), ("group", 0, owner.pw_gid, 0o710)):
        folder = top / name
        folder.mkdir()
        os.chown(folder, uid, gid)
        folder.chmod(bits)
        let_pass(folder, owner)
        assert mode(folder) == bits
    assert changed(caplog) == []


@as_root
def test_heeds_an_access_list(top: Path, owner: pwd.struct_passwd, caplog: pytest.LogCaptureFixture) -> None:
    folder = top / "listed"
    folder.mkdir(mode=0o700)
    nobody = 0xFFFFFFFF
    entries = [
        *((TAG_USER_OBJ, 7, nobody), (TAG_USER, 1, owner.pw_uid), (TAG_GROUP_OBJ, 0, nobody)),
        *((TAG_MASK, 1, nobody), (TAG_OTHER, 0, nobody)),
    ]
    words = [(2).to_bytes(4, "little")]
    words += [tag.to_bytes(2, "little") + may.to_bytes(2, "little") + who.to_bytes(4, "little") for tag, may, who in entries]
    try:
        os.setxattr(folder, "system.posix_acl_access", b"".join(words))
    except OSError:
        pytest.skip("this file system has no access lists")
    let_pass(folder, owner)
    assert changed(caplog) == []
    assert mode(folder) & 0o007 == 0


@as_root
def test_opens_the_way_of_a_link_and_of_what_it_leads_to(
    top: Path, owner: pwd.struct_passwd, caplog: pytest.LogCaptureFixture
) -> None:
    (top / "far").mkdir(mode=0o700)
    (top / "far" / "there").mkdir()
    (top / "near").mkdir(mode=0o700)
    (top / "near" / "link").symlink_to(top / "far" / "there")
    let_pass(top / "near" / "link", owner)
    assert set(changed(caplog)) == {str(top / "near"), str(top / "far")}
    assert may_pass(top / "near" / "link", owner)


@as_root
def test_says_where_the_way_cannot_be_opened(top: Path, owner: pwd.struct_passwd, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that is read-only: that the kernel refuses is all that matters here."""
    (top / "closed").mkdir(mode=0o700)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(
        ConfigError, match=f"^FW_DATA_DIR: {SYSTEM_USER}, as whom PostgreSQL runs, may not pass through {top}/cl"
    ):
        let_pass(top / "closed", owner)


@as_root
@pytest.mark.slow
async def test_the_start_says_which_folders_it_has_opened(top: Path) -> None:
    closed = top / "closed"
    closed.mkdir(mode=0o700)
    said = f"everybody may now pass through {closed} (chmod o+x): PostgreSQL does not run as root"
    for times in (1, 0):
        async with fw("migrate", folder=closed, FW_LOG_LEVEL="WARNING") as process:
            assert await process.ended() == 0, process.output
            assert process.output.count('"level":"WARNING"') == process.output.count(said) == times


@pytest.mark.parametrize("text", ["", "eighteen"])
def test_a_broken_cluster_is_told(top: Path, text: str) -> None:
    (top / "postgres").mkdir()
    (top / "postgres" / "PG_VERSION").write_text(text)
    with pytest.raises(ConfigError, match="PG_VERSION is broken: it names no version of PostgreSQL"):
        embedded._ensure_made(top)


@pytest.mark.parametrize("name", ['a"b', "a$b", "a`b", "a,b", "a\nb"])
def test_refuses_a_path_that_its_programs_do_not_take(top: Path, name: str) -> None:
    with (
        pytest.raises(ConfigError, match=r"^FW_DATA_DIR: PostgreSQL does not take a path with "),
        embedded.postgres(top / name),
    ):
        pass
    assert list(top.iterdir()) == []


@pytest.mark.slow
async def test_takes_a_path_with_other_odd_characters(top: Path) -> None:
    async with fw("migrate", folder=top, FW_DATA_DIR=str(top / "it's (50 %); ä & #1")) as process:
        assert await process.ended() == 0, process.output
