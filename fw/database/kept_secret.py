"""The signing secret that `FW_DATA_DIR` keeps for the embedded database, if the configuration has none."""

import os
import secrets
import shlex
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from fw.config import SECRET_BYTES, ConfigError

NAME: Final = "jwt-secret"
OF_OTHERS: Final = 0o066
"""Permissions of others to read or write: with the secret, anybody can sign in as anybody."""
NEW: Final = "remove it, and the next start makes a new one (everybody has to log in again)"


class Unfit(ConfigError):
    """A secret that must not be used: what is wrong with it, and what to do."""

    def __init__(self, detail: str, advice: str) -> None:
        self.detail = detail
        self.advice = advice
        super().__init__(f"FW_DATA_DIR: {detail}: {advice}")


def kept_secret(data_dir: Path) -> str:
    """Return the secret of a data directory, made at its first use. Raises `Unfit`."""
    path = data_dir / NAME
    try:
        if not path.exists():
            make_secret(path)
        if not path.is_file():
            raise Unfit(f"{path} is not a file", NEW)
        mode, raw = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise Unfit(f"{path}: {error.strerror}", "let the user that fw runs as read and write there") from None
    if mode & OF_OTHERS:
        raise Unfit(f"{path} may be read or written by others", f"chmod 600 {shlex.quote(str(path))}")
    try:
        secret = raw.decode().strip()
    except UnicodeDecodeError:
        raise Unfit(f"{path} is not text in UTF-8", NEW) from None
    if (size := len(secret.encode())) < SECRET_BYTES:
        raise Unfit(f"{path} has {size} bytes, and a secret needs {SECRET_BYTES}", NEW)
    return secret


def make_secret(path: Path) -> None:
    """Make a secret in another file, and give it its name once it is on the disk: no process reads half a secret.

    If several processes make one at once, the first secret stays. Raises `OSError`.
    """
    # `mkstemp` gives it to its owner alone.
    descriptor, new = tempfile.mkstemp(prefix=f"{NAME}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            path.hardlink_to(new)
    finally:
        Path(new).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
