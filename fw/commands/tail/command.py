"""The parser of `fw tail`."""

import argparse

from fw.commands.command import Subparsers
from fw.config import Config


def register(commands: Subparsers) -> None:
    command = commands.add_parser("tail", help="follow your inbox in this terminal, live")
    command.add_argument("--url", default="http://127.0.0.1:8080", help="the server (http://127.0.0.1:8080)")
    command.add_argument("--since", type=int, metavar="CURSOR", help="begin after this cursor, 0 for all; else from now")
    command.set_defaults(run=run, needs_database=False)


def run(config: Config, options: argparse.Namespace) -> None:
    from fw.commands.tail.follow import tail

    tail(options.url, options.since)
