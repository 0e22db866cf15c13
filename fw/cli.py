"""`fw`: serving, migrating, and what an operator does by hand."""

import argparse
import asyncio
import hashlib
import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from fw import __version__
from fw.accounts.tokens import BILLING, Tokens
from fw.config import Config, ConfigError, load, utf8
from fw.database.kept_secret import kept_secret
from fw.database.pool import Database
from fw.errors import Problem
from fw.ids import is_id
from fw.telemetry import logs
from fw.terminal import complain, complete_streams, drop_output, printable

log = logging.getLogger("fw.cli")

RESET_MINUTES: Final = 30

NEXT: Final = """\
FeedbackWave {version} listens on {url}

  Read and try {url}/api/docs
  Register     curl {url}/api/auth/register -H 'Content-Type: application/json' \\
                 -d '{{"email": "you@example.com", "username": "you", "password": "a long one of yours"}}'
  Send         curl {url}/api/feedback/you -H 'Content-Type: application/json' -d '{{"message": "Well done!"}}'
  Is it well?  curl {url}/health/ready

Stop it with Ctrl-C.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for what is wrong outside, 2 for wrong usage."""
    complete_streams()
    options = parser().parse_args(arguments)
    try:
        config = load(os.environ)
        logs.configure(config.log_level, config.log_format)
        with provide(config) if options.needs_database else nullcontext(config) as ready:
            code = options.run(ready, options) or 0
        sys.stdout.flush()
        return int(code)
    except ConfigError as error:
        complain(str(error))
    except Problem as problem:
        complain(problem.detail)
    except KeyboardInterrupt:
        complain("interrupted")
    except BrokenPipeError:
        # Whoever read has had enough, as in "fw openapi | head".
        pass
    except OSError as error:
        log.debug("failed", exc_info=True)
        complain(": ".join(str(part) for part in (error.filename, error.strerror or error) if part is not None))
    drop_output()
    return 1


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="fw", description="FeedbackWave: a live inbox for what people think.")
    top.add_argument("--version", action="version", version=f"fw {__version__}")
    top.set_defaults(needs_database=True)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("serve", help="serve the API (migrates first)")
    command.set_defaults(run=serve)

    command = commands.add_parser("migrate", help="bring the database up to this release")
    command.add_argument("--rollback", type=count, metavar="N", help="take back the newest N migrations instead")
    command.add_argument("--status", action="store_true", help="list what is applied and what is not, and change nothing")
    command.set_defaults(run=migrate)

    command = commands.add_parser("token", help="make, list or revoke tokens of other systems")
    command.add_argument("--scope", choices=[BILLING], help="what the token is good for")
    command.add_argument("--days", type=count, default=365, help="how long it lives (365)")
    command.add_argument("--list", action="store_true", help="list the tokens that there are, by their ids")
    command.add_argument("--revoke", metavar="ID", help="end the token with this id")
    command.set_defaults(run=token)

    command = commands.add_parser("tail", help="follow your inbox in this terminal, live")
    command.add_argument("--url", default="http://127.0.0.1:8080", help="the server (http://127.0.0.1:8080)")
    command.add_argument("--since", type=int, metavar="CURSOR", help="begin after this cursor, 0 for all; else from now")
    command.set_defaults(run=tail, needs_database=False)

    command = commands.add_parser("backup", help="write everything that is stored to a file")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--force", action="store_true", help="replace FILE if it exists")
    command.set_defaults(run=backup)

    command = commands.add_parser("restore", help="put back what fw backup has written (stop the servers first)")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--force", action="store_true", help="replace everything that the database holds")
    command.set_defaults(run=restore)

    command = commands.add_parser("openapi", help="print the API's description (OpenAPI 3.1)")
    command.set_defaults(run=openapi, needs_database=False)

    command = commands.add_parser("doctor", help="look for what goes wrong in practice, and say what to do")
    command.add_argument("--json", action="store_true", help="for programs")
    command.set_defaults(run=doctor, needs_database=False)

    command = commands.add_parser("user", help="look after accounts")
    actions = command.add_subparsers(required=True, metavar="ACTION")
    action = actions.add_parser("premium", help="put an account on or off premium")
    action.add_argument("name", type=utf8)
    action.add_argument("state", choices=["on", "off"])
    action.set_defaults(run=premium)
    action = actions.add_parser("reset", help="make a password reset token for an account")
    action.add_argument("name", type=utf8)
    action.set_defaults(run=reset)
    return top


def count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 36500:
        raise argparse.ArgumentTypeError("must be from 1 to 36500")
    return number


@contextmanager
def provide(config: Config) -> Iterator[Config]:
    """Complete the configuration: where it names no database, with the embedded one and its secret."""
    if config.database_url:
        if not config.jwt_secrets:
            raise ConfigError("FW_JWT_SECRET: is required with DATABASE_URL (try: openssl rand -hex 32)")
        yield config
        return
    with embedded_database(config) as found:
        yield replace(found, jwt_secrets=config.jwt_secrets or (kept_secret(config.data_dir),))


@contextmanager
def embedded_database(config: Config) -> Iterator[Config]:
    from fw.database.embedded import postgres

    with postgres(config.data_dir) as url:
        yield replace(config, database_url=url)


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


def serve(config: Config, options: argparse.Namespace) -> None:
    with shared_metrics(config.web_concurrency):
        listen_and_serve(config)


def listen_and_serve(config: Config) -> None:
    from fw import server, workers
    from fw.database import connections as capacity
    from fw.database import migrations

    # Until the server takes over.
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
        run_server = workers.run if config.web_concurrency > 1 else server.run
        run_server(config, sock, lambda: print(NEXT.format(version=__version__, url=url), flush=True))


def unwind_on_sigterm() -> None:
    """Have SIGTERM unwind as Ctrl-C does: what was started is stopped, and what was half made is taken away."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def migrate(config: Config, options: argparse.Namespace) -> None:
    from fw.database import migrations

    if options.status:
        for migration_id, applied in migrations.status(config).items():
            print(f"{'applied' if applied else 'missing'}  {migration_id}")
    elif options.rollback:
        for migration_id in migrations.roll_back(config, options.rollback):
            print(f"rolled back  {migration_id}")
    else:
        print("\n".join(f"applied  {name}" for name in migrations.migrate(config)) or "nothing to do")


def token(config: Config, options: argparse.Namespace) -> None:
    if options.list:
        run(config, list_tokens)
    elif options.revoke:
        run(config, lambda database: revoke_token(database, options.revoke))
    elif options.scope:
        ticket = Tokens(config, Database(config)).issue_service(options.scope, timedelta(days=options.days))
        run(
            config,
            lambda database: database.change("sessions.open_service", ticket.session_id, options.scope, ticket.expires_at),
        )
        print(ticket.token)
    else:
        raise ConfigError("token: say one of --scope, --list and --revoke")


async def list_tokens(database: Database) -> None:
    for row in await database.rows("sessions.list_services"):
        state = "revoked" if row["revoked_at"] else "expired" if row["expires_at"] <= datetime.now(UTC) else "live"
        print(f"{row['id']}  {row['scope']}  {state}  until {row['expires_at']:%Y-%m-%d}")


async def revoke_token(database: Database, token_id: str) -> None:
    if not is_id(token_id) or await database.change("sessions.revoke_service", token_id) is None:
        raise ConfigError(f"there is no token {token_id}")
    print("revoked")


def tail(config: Config, options: argparse.Namespace) -> None:
    from fw.commands.tail.follow import tail

    tail(options.url, options.since)


def backup(config: Config, options: argparse.Namespace) -> None:
    from fw.commands.dump.progress import Progress
    from fw.commands.dump.writing import backup

    unwind_on_sigterm()
    with Progress(sys.stderr) as progress:
        done = backup(config, options.file, progress, force=options.force)
    print(printable(done))


def restore(config: Config, options: argparse.Namespace) -> None:
    from fw.commands.dump.progress import Progress
    from fw.commands.dump.restoring import restore

    unwind_on_sigterm()
    with Progress(sys.stderr) as progress:
        done = restore(config, options.file, progress, force=options.force)
    print(printable(done))


def openapi(config: Config, options: argparse.Namespace) -> None:
    from fw.docs.openapi import Description
    from fw.routes import ROUTES

    print(Description(ROUTES).json.decode())


def doctor(config: Config, options: argparse.Namespace) -> int:
    """Examine whatever configuration there is. Returns 1 where something failed."""
    from fw.commands.doctor.finding import Subject
    from fw.commands.doctor.report import report

    # What is going on is told by the findings.
    logs.configure("WARNING", config.log_format)
    unwind_on_sigterm()
    subject = Subject(config=config, is_embedded=not config.database_url)
    with ExitStack() as stack:
        if subject.is_embedded:
            try:
                subject = replace(subject, config=stack.enter_context(embedded_database(config)))
            except ConfigError as error:
                subject = replace(subject, trouble=str(error))
        is_well = asyncio.run(report(subject, lambda text: print(text, flush=True), as_json=options.json))
    return 0 if is_well else 1


def premium(config: Config, options: argparse.Namespace) -> None:
    async def work(database: Database) -> None:
        if await database.change("users.set_premium", None, options.name, options.state == "on") is None:
            raise ConfigError(f"there is no user {options.name}")
        print(f"premium is {options.state} for {options.name}")

    run(config, work)


def reset(config: Config, options: argparse.Namespace) -> None:
    async def work(database: Database) -> None:
        # 256 random bits, kept as their hash alone (ASVS 5.0, 6.5.1).
        secret = secrets.token_urlsafe(32)
        end = datetime.now(UTC) + timedelta(minutes=RESET_MINUTES)
        if await database.change("users.offer_reset", options.name, hashlib.sha256(secret.encode()).digest(), end) is None:
            raise ConfigError(f"there is no user {options.name}")
        print(secret)

    run(config, work)


def run(config: Config, work: Callable[[Database], Awaitable[object]]) -> None:
    """Do some work on a database that is up to date."""
    from fw.database import migrations

    async def with_database() -> None:
        async with Database(config) as database:
            await work(database)

    migrations.migrate(config)
    asyncio.run(with_database())
