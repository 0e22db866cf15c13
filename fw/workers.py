"""Several server processes on one port, under gunicorn with aiohttp's own worker."""

import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer
from prometheus_client.multiprocess import mark_process_dead

from fw import __version__
from fw.config import Config, ConfigError
from fw.server import BACKLOG, Runner, make_runner, tune_memory

log = logging.getLogger("fw.server")

STOP_SECONDS: Final = 12
"""How long a worker may take to finish its requests; platforms kill after 30 s, some after 15."""
SILENT_SECONDS: Final = 30
"""A worker that has not reported for so long is replaced."""


class Service(BaseApplication):  # type: ignore[misc]
    """gunicorn, with settings from our configuration alone."""

    def __init__(self, config: Config, sock: socket.socket, ready: Callable[[], None]) -> None:
        self._config = config
        self._sock = sock
        self._ready = ready
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            # gunicorn closes its socket, so it gets a copy.
            "bind": f"fd://{os.dup(self._sock.fileno())}",
            "workers": self._config.web_concurrency,
            "worker_class": "aiohttp.GunicornUVLoopWebWorker",
            "backlog": BACKLOG,
            "graceful_timeout": STOP_SECONDS,
            "timeout": SILENT_SECONDS,
            "proc_name": "feedbackwave",
            "loglevel": "warning",
            "when_ready": self._say_ready,
            "post_worker_init": lambda _: log.info("worker started"),
            "worker_exit": end_worker,
            "child_exit": forget_worker,
            "on_exit": lambda _: log.info("stopped"),
        }
        if Path("/dev/shm").is_dir():  # noqa: S108
            # Workers report by a file; a disk may be slow or read-only.
            settings["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
        for name, value in settings.items():
            self.cfg.set(name, value)

    def _say_ready(self, arbiter: object) -> None:
        log.info("started", extra={"version": __version__, "processes": self._config.web_concurrency})
        self._ready()

    def load(self) -> Callable[[], Any]:
        config = self._config

        async def make() -> Runner:
            tune_memory()
            return make_runner(config)

        return make


def forget_worker(arbiter: Arbiter, worker: Any) -> None:
    """Remove the gauges of a worker that has ended from the metrics."""
    mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
    log.info("worker gone", extra={"worker": worker.pid})


def end_worker(arbiter: Arbiter, worker: Any) -> None:
    """Exit at once: a worker is a fork, and must not run the clean-up of its parent, which would stop the database."""
    log.info("worker stopped")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(worker.exit_code if worker.booted else Arbiter.WORKER_BOOT_ERROR)


def run(config: Config, sock: socket.socket, ready: Callable[[], None]) -> None:
    """Serve by several processes until SIGTERM or SIGINT; one that dies is replaced. Raises `ConfigError` if none starts."""
    logging.getLogger("gunicorn.error").propagate = False
    try:
        Service(config, sock, ready).run()
    except HaltServer:
        raise ConfigError("the server processes do not start; the messages before this one say why") from None
