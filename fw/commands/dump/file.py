"""Reading a file that pg_dump has written, by pg_restore."""

import os
import re
import select
import stat
import subprocess
import tempfile
from collections.abc import Collection, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, NamedTuple

from fw.commands.dump.programs import complaint, newest_program
from fw.commands.dump.tables import RECORD
from fw.config import ConfigError

LEAST_MAJOR: Final = 15
COPY: Final = re.compile(rb'COPY (?:[\w"]+\.)?"?(\w+)"? \(([\w", ]+)\) FROM stdin;\n')
COLUMN: Final = re.compile(r'[^", ]+')
END_OF_COPY: Final = b"\\.\n"
CHUNK_BYTES: Final = 1 << 16
LINE_BYTES: Final = 1 << 24
"""More than any row has."""
SILENT_SECONDS: Final = 60.0
"""How long pg_restore may write nothing: one wrong bit in a file can make it loop for ever."""


class Head(NamedTuple):
    """The line before the rows of a table in a file."""

    table: str
    columns: tuple[str, ...]


@dataclass(slots=True)
class Contents:
    """What a whole file holds: the number of rows by table, and the migrations that had been applied."""

    rows: dict[str, int] = field(default_factory=dict)
    migrations: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def read_contents(path: Path, tables: Collection[str]) -> Contents:
    """Read a file from its beginning to its end. Raises `ConfigError` if it is not whole, or not a backup."""
    try:
        # It is read twice, and a pipe cannot be.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{path}: is not a file")
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    contents = Contents()
    with closing(read_rows(path)) as lines:
        for head, line in lines:
            if head.table == RECORD and line is not None:
                contents.migrations.add(applied_migration(head, line, path))
            elif head.table in tables:
                contents.rows[head.table] = contents.rows.get(head.table, 0) + (line is not None)
    if not contents.migrations:
        raise ConfigError(f"{path}: is not a file of fw backup")
    return contents


def applied_migration(head: Head, line: bytes, path: Path) -> str:
    """Return the migration that a row of the record names. Raises `ConfigError`."""
    try:
        return line.decode().rstrip("\n").split("\t")[head.columns.index("migration_id")]
    except (ValueError, IndexError):
        raise ConfigError(f"{path}: is broken, or no file of fw backup (its record of migrations cannot be read)") from None


def read_rows(path: Path) -> Generator[tuple[Head, bytes | None], None, None]:
    """Give each row of a file as a line of text for COPY; None begins a table. Raises `ConfigError` if the file is broken.

    Whatever else pg_restore writes is skipped.
    """
    head = None
    with closing(script(path)) as lines:
        for line in lines:
            if head is None:
                if found := COPY.fullmatch(line):
                    head = Head(found[1].decode(), tuple(COLUMN.findall(found[2].decode())))
                    yield head, None
            elif line == END_OF_COPY:
                head = None
            else:
                yield head, line


def script(path: Path) -> Generator[bytes, None, None]:
    """Give the lines of the SQL script that pg_restore makes of a file. Raises `ConfigError` if the file is broken."""
    command = [newest_program("pg_restore", LEAST_MAJOR), "--data-only", "--file=-", str(path.absolute())]
    environment = {**os.environ, "LC_ALL": "C"}
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, bufsize=0
        ) as process:
            assert process.stdout
            try:
                yield from bounded_lines(process.stdout, path)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            errors.seek(0)
            raise ConfigError(f"{path}: {reason(errors.read().decode('utf-8', 'replace'))}; nothing was changed")


def bounded_lines(stream: IO[bytes], path: Path) -> Generator[bytes, None, None]:
    """Give each line that pg_restore writes. Raises `ConfigError` if none comes for too long, or one is too long."""
    rest = b""
    while select.select([stream], [], [], SILENT_SECONDS)[0]:
        chunk = stream.read(CHUNK_BYTES)
        if not chunk:
            return
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(rest) > LINE_BYTES:
            raise ConfigError(f"{path}: is broken, or no file of fw backup (a row is longer than any); nothing was changed")
    raise ConfigError(f"{path}: is broken (pg_restore makes nothing of it); nothing was changed")


def reason(said: str) -> str:
    """Return why pg_restore could not read a file."""
    what = next(filter(None, map(complaint, said.splitlines())), "pg_restore failed")
    if "unsupported version" in what:
        return f"was written by a newer pg_dump; install a newer postgresql-client ({what})"
    return f"is broken, not whole, or no file of fw backup ({what})"
