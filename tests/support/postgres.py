"""The embedded PostgreSQL as a process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from fw.database.embedded import Cluster, _ensure_made, _ensure_running, _is_running

OPTIONS = ("fsync=off", "max_connections=100")


@contextmanager
def own_cluster(folder: Path) -> Iterator[Cluster]:
    """Run a PostgreSQL of a test's own, to be stopped and started."""
    folder.mkdir()
    found = _ensure_made(folder)
    start_cluster(found)
    yield found
    if _is_running(found):
        stop_cluster(found, "immediate")


def start_cluster(cluster: Cluster) -> None:
    _ensure_running(cluster, OPTIONS)


def stop_cluster(cluster: Cluster, mode: str) -> None:
    cluster.run("pg_ctl", "stop", "-m", mode, "-w")


def postmaster(folder: Path) -> psutil.Process:
    """Return the process of the embedded server of a folder."""
    return psutil.Process(int((folder / ".fw" / "postgres" / "postmaster.pid").read_text().splitlines()[0]))


def lives(process: psutil.Process) -> bool:
    """Tell whether a process runs; one that has ended stays listed where nobody waits for it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
