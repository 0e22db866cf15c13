"""The embedded PostgreSQL as a process."""

from pathlib import Path

import psutil


def postmaster(folder: Path) -> psutil.Process:
    """Return the process of the embedded server of a folder."""
    return psutil.Process(int((folder / ".fw" / "postgres" / "postmaster.pid").read_text().splitlines()[0]))


def lives(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that has ended stays listed where nobody waits for it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
