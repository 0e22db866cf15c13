"""What `fw doctor` looks at on this machine: secrets, the data directory, limits of the system."""

import os
import resource
import tempfile
from typing import Final

from fw.commands.doctor.finding import Finding, Subject, failed, ok, skipped, warning
from fw.database.kept_secret import Unfit, kept_secret

DISTINCT_CHARACTERS: Final = 8
"""A secret with fewer is not random: 32 random hexadecimal digits have fewer once in ten million times."""
PLACEHOLDERS: Final = (
    "change",
    "replace",
    "secret",
    "example",
    "placeholder",
    "password",
    "your-",
    "your_",
    "0123456789",
)
FILES: Final = 4096
"""Each live reader and each other connection is an open file: the usual 1,024 are few."""
NEW_SECRET: Final = "put a new one in front (openssl rand -hex 32), and remove the old one once FW_JWT_TTL has passed"


async def check_secret(subject: Subject) -> Finding:
    """Look for secrets that could be guessed: with one, anybody can sign in as anybody."""
    found = subject.config.jwt_secrets
    if not found and not subject.is_embedded:
        return failed("FW_JWT_SECRET: not set, and required with DATABASE_URL", "set it to the output of: openssl rand -hex 32")
    try:
        found = found or (kept_secret(subject.config.data_dir),)
    except Unfit as error:
        return failed(error.detail, error.advice)
    for number, secret in enumerate(found, 1):
        which = f"FW_JWT_SECRET: number {number} of {len(found)}"
        if len(set(secret)) < DISTINCT_CHARACTERS:
            return failed(f"{which} has {len(set(secret))} different characters", NEW_SECRET)
        if any(word in secret.lower() for word in PLACEHOLDERS):
            return failed(f"{which} looks like a placeholder", NEW_SECRET)
    if len(set(found)) < len(found):
        return warning("FW_JWT_SECRET: the same secret stands there twice", "leave it out once")
    lengths = " and ".join(f"{len(secret.encode())} bytes" for secret in found)
    return ok(f"{len(found)} of {lengths}{'; the first signs' if len(found) > 1 else ''}")


async def check_data_directory(subject: Subject) -> Finding:
    """Write a file where the embedded database lives."""
    if not subject.is_embedded:
        return skipped("DATABASE_URL is set: the embedded database is not used")
    path = subject.config.data_dir
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return failed(f"{path}: cannot be written: {error.strerror}", "set FW_DATA_DIR to a folder of the program's own")
    return ok(f"{path} can be written")


async def check_open_files(subject: Subject) -> Finding:
    """Compare the limit of open files with the sockets, each of which takes one."""
    # The server raises its own limit as far as it may.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        return ok("without a limit")
    sockets = max(0, most - subject.config.db_pool - 64)
    detail = f"{most} here: some {sockets} sockets a process"
    if most >= FILES:
        return ok(detail)
    return warning(detail, "raise it to 65536 where the server starts (ulimit -Hn, or LimitNOFILE= in systemd)")
