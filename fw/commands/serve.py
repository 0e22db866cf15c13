"""`fw serve`."""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from fw import __version__
from fw.commands.command import Subparsers
from fw.commands.runtime import unwind_on_sigterm
from fw.config import Config, ConfigError

NEXT: Final = """\
FeedbackWave {version} listens on {url}

  Open {entrance}

Stop it with Ctrl-C.
"""


def entrance(config: Config) -> str:
    """Return the path of what a person opens first."""
    if not config.pages:
        return "/api/docs"
    return "/" if config.front_page else "/inbox"


def register(commands: Subparsers) -> None:
    command = commands.add_parser("serve", help="serve the API (migrates first)")
    command.set_defaults(run=run)


def run(config: Config, options: argparse.Namespace) -> None:
    with shared_metrics(config.web_concurrency):
        listen_and_serve(config)


@contextmanager
def shared_metrics(processes: int) -> Iterator[None]:
    """Give several processes a folder where their metrics meet; prometheus_client looks for it when it is first imported."""
    if processes == 1:
        yield
        return
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(prefix="fw-metrics-", dir=memory if memory.is_dir() else None) as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def listen_and_serve(config: Config) -> None:
    from fw import server, workers
    from fw.database import connections as capacity
    from fw.database import migrations
    from fw.web.descriptors import raise_limit

    raise_limit()
    # Until the server has its own handler.
    unwind_on_sigterm()
    try:
        sock = server.bind(config.host, config.port)
    except OSError as error:
        raise ConfigError(f"HOST, PORT: cannot listen on {config.host} port {config.port}: {error.strerror or error}") from None
    with sock:
        migrations.migrate(config)
        with migrations.connect(config) as connection:
            capacity.warn(config, connection)
        host, port = sock.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        # The port that the kernel has picked stands in links too.
        config = replace(config, port=port)
        run_server = workers.run if config.web_concurrency > 1 else server.run
        run_server(
            config, sock, lambda: print(NEXT.format(version=__version__, url=url, entrance=url + entrance(config)), flush=True)
        )
