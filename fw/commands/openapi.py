"""`fw openapi`."""

import argparse

from fw.commands.command import Subparsers
from fw.config import Config


def register(commands: Subparsers) -> None:
    command = commands.add_parser("openapi", help="print the API's description (OpenAPI 3.1)")
    command.set_defaults(run=run, needs_database=False)


def run(config: Config, options: argparse.Namespace) -> None:
    from fw.docs.openapi import Description
    from fw.routes import ROUTES

    print(Description(ROUTES).json.decode())
