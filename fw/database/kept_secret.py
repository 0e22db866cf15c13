"""The signing secret that `FW_DATA_DIR` keeps for an embedded database, where the configuration has none."""

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
"""Whoever reads it is anybody, and so is whoever writes it."""
NEW: Final = "take it away, and the next start makes a new one (everybody has to log in again)"


class Unfit(ConfigError):
    """A secret that is not to be signed with: what is wrong with it, and what to do."""

    def __init__(self, detail: str, advice: str) -> None:
        self.detail = detail
        self.advice = advice
        super().__init__(f"FW_DATA_DIR: {detail}: {advice}")


def kept_secret(data_dir: Path) -> str:
    """Return the secret of this data directory, made at the first use. Raises `Unfit`."""
    path = data_dir / NAME
    try:
        if not path.exists():
            make(path)
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


def make(path: Path) -> None:
    """Make a secret aside and give it its name when it is on the disk: nobody finds a half of one.

    Of several starts at once all but the first leave the name as it is. Raises `OSError`.
    """
    # For its owner alone from the start.
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
