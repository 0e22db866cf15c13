"""The parser of `fw doctor`, and what the checks need around them."""

import argparse
import asyncio
from contextlib import ExitStack
from dataclasses import replace

from fw.commands.command import Subparsers
from fw.commands.doctor.finding import Subject
from fw.commands.runtime import embedded_database, unwind_on_sigterm
from fw.config import Config, ConfigError
from fw.telemetry import logs


def register(commands: Subparsers) -> None:
    command = commands.add_parser("doctor", help="look for what goes wrong in practice, and say what to do")
    command.add_argument("--json", action="store_true", help="print the findings as JSON, for programs")
    command.set_defaults(run=run, needs_database=False)


def run(config: Config, options: argparse.Namespace) -> int:
    """Examine the configuration, whatever it is. Returns 1 if a check failed."""
    from fw.commands.doctor.report import report

    # The findings tell what is going on.
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
