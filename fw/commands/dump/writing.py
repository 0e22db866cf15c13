"""Writing a backup, by pg_dump."""

import os
import re
import select
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import psycopg

from fw.commands.dump.programs import complaint, connection_settings, fitting_program
from fw.commands.dump.progress import Progress, in_words
from fw.commands.dump.tables import LOCK_SECONDS, RECORD, existing, refuse_newer, tables
from fw.config import Config, ConfigError
from fw.database import distribution, migrations

TICK_SECONDS: Final = 0.2
DUMPING: Final = re.compile(r'dumping contents of table "(?:.*\.)?(\w+)"')


def backup(config: Config, path: Path, progress: Progress, *, force: bool = False) -> str:
    """Write everything to a file that only its owner may read, and return what was written, in words.

    It is one snapshot, taken while servers run, and gets its name only when it is whole. The nodes of a cluster have no common
    snapshot: if servers run, the words say so. Raises `ConfigError`.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder")
    if path.exists() and not path.is_file():
        raise ConfigError(f"{path}: is not a file")
    if path.exists() and not force:
        raise ConfigError(f"{path}: exists already (--force replaces it)")
    with migrations.connect(config) as connection:
        refuse_newer(migrations.unknown(connection), "the database")
        names = existing(connection, (*tables(), RECORD))
        version = connection.info.server_version // 10000
        torn = torn_by(connection)
    if len(names) < 2:
        raise ConfigError("the database has no tables of FeedbackWave: there is nothing to back up")
    command = [fitting_program("pg_dump", version)]
    command += ["--format=custom", "--data-only", "--no-password", "--verbose", "--strict-names"]
    command += [f"--lock-wait-timeout={LOCK_SECONDS}s", *(f'--table="{schema}"."{table}"' for schema, table in names)]
    with file_when_whole(path, force=force) as part:
        arguments, environment = connection_settings(config.direct_url)
        run_pg_dump([*command, *arguments, f"--file={part}"], environment, DumpProgress(part, len(names), progress))
        size = part.stat().st_size
    return f"backed up {len(names) - 1} tables, {in_words(size)}, to {path}{torn}"


def torn_by(connection: psycopg.Connection[Any]) -> str:
    """Return in words why the backup is not one snapshot, or nothing."""
    found = distribution.state(connection)
    servers = distribution.run(connection, "distribution.servers")[0][0] if found and found.is_begun else 0
    if not servers:
        return ""
    return (
        f"; not of one moment: the tables are on several nodes, and servers wrote meanwhile ({servers} connections)."
        " Stop the servers for a backup that is"
    )


@contextmanager
def file_when_whole(path: Path, *, force: bool) -> Iterator[Path]:
    """Give an empty file beside `path`. It is renamed to `path` at the end, or deleted if anything fails."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.touch(mode=0o600, exist_ok=False)
        try:
            yield part
            rename(part, path, force=force)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror or error}") from None


def rename(part: Path, path: Path, *, force: bool) -> None:
    """Rename a file, for good on the disk. Raises `FileExistsError` if the name is taken and `force` is not set."""
    try:
        if not force:
            # Unlike a rename, a link fails if somebody else has made the file in the meantime.
            path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        # This file system has no links.
        force = True
    if force:
        part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class DumpProgress:
    """Turns what pg_dump says into progress, and keeps its first complaint."""

    def __init__(self, part: Path, count: int, progress: Progress) -> None:
        self._part = part
        self._count = count
        self._progress = progress
        self._text = "backing up"
        self._begun = 0
        self.complaint = ""

    def hear(self, line: str) -> None:
        """Take a line, or an empty one if none has come for a while."""
        if found := DUMPING.search(line):
            self._begun += 1
            self._text = f"backing up {found[1]} ({self._begun} of {self._count})"
            self._progress.step(self._text)
        elif line:
            self.complaint = self.complaint or complaint(line)
        else:
            self._progress.more(f"{self._text}, {in_words(self._part.stat().st_size)}")


def run_pg_dump(command: list[str], environment: Mapping[str, str], progress: DumpProgress) -> None:
    """Run pg_dump to its end. Raises `ConfigError` with its complaint."""
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            for line in lines_or_ticks(process.stderr):
                progress.hear(line)
        except BaseException:
            # On SIGTERM it cancels the statement that it waits for; killed, it would leave the server waiting.
            process.terminate()
            raise
    if process.returncode:
        raise ConfigError(f"pg_dump failed: {progress.complaint or f'exit code {process.returncode}'}")


def lines_or_ticks(stream: IO[bytes] | None) -> Iterator[str]:
    """Give each line, and an empty one whenever none comes for a while."""
    assert stream
    rest = b""
    while True:
        if not select.select([stream], [], [], TICK_SECONDS)[0]:
            yield ""
            continue
        chunk = os.read(stream.fileno(), 1 << 16)
        if not chunk:
            return
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole if line)
