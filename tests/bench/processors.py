"""How much of a processor's time servers take: a service and its workers, and PostgreSQL servers on this machine."""

from collections.abc import Mapping
from typing import Final

import psutil
import psycopg

from tests.bench.load import Missing

GONE: Final = (psutil.NoSuchProcess, psutil.ZombieProcess)


class Processors:
    """The processes that are looked at, by what they are: each with its children."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._roots = {name: psutil.Process(pid) for name, pid in pids.items()}

    def seconds(self) -> dict[str, float]:
        """Return how much each has taken up to now."""
        return {name: sum(map(taken_by, [root, *root.children(recursive=True)])) for name, root in self._roots.items()}


def taken_by(process: psutil.Process) -> float:
    """Return how much a process has taken, and those of its children that have ended."""
    try:
        return float(sum(process.cpu_times()[:4]))
    except GONE:
        return 0.0


def postmaster(url: str) -> int:
    """Return the process of a PostgreSQL server. Raises `Missing` if that is not on this machine."""
    with psycopg.connect(url) as connection:
        try:
            backend = psutil.Process(connection.info.backend_pid)
        except psutil.NoSuchProcess:
            raise Missing("the processes of PostgreSQL are not on this machine") from None
        return int(backend.ppid())
