"""A Redis of the test's own."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

REDIS = shutil.which("redis-server")


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Run a Redis of the test's own, on a Unix socket."""
    assert REDIS
    path = folder / "redis.sock"
    command = [REDIS, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            while not accepts(path):
                assert process.poll() is None, "redis-server has ended"
            yield f"unix://{path}"
        finally:
            process.terminate()


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.settimeout(0.05)
        probe.connect(str(path))
        return True
    return False
