"""`fw user`: what an operator does to an account by hand."""

import argparse
import secrets
import sys
from datetime import UTC, datetime, timedelta
from typing import Final

from fw.commands.command import Subparsers
from fw.commands.runtime import on_database
from fw.config import Config, ConfigError, utf8
from fw.database.pool import Database
from fw.web.links import link, token_hash

RESET_MINUTES: Final = 30


def register(commands: Subparsers) -> None:
    actions = commands.add_parser("user", help="look after accounts").add_subparsers(required=True, metavar="ACTION")
    action = actions.add_parser("premium", help="put an account on or off premium")
    action.add_argument("name", type=utf8)
    action.add_argument("state", choices=["on", "off"])
    action.set_defaults(run=set_premium)
    action = actions.add_parser("reset", help="make a password reset token for an account")
    action.add_argument("name", type=utf8)
    action.set_defaults(run=offer_reset)


def set_premium(config: Config, options: argparse.Namespace) -> None:
    async def work(database: Database) -> None:
        if await database.change("users.set_premium", None, options.name, options.state == "on") is None:
            raise ConfigError(f"there is no user {options.name}")
        print(f"premium is {options.state} for {options.name}")

    on_database(config, work)


def offer_reset(config: Config, options: argparse.Namespace) -> None:
    async def work(database: Database) -> None:
        # 256 random bits (ASVS 5.0, 6.5.1).
        token = secrets.token_urlsafe(32)
        end = datetime.now(UTC) + timedelta(minutes=RESET_MINUTES)
        if await database.change("users.offer_reset", options.name, token_hash(token), end) is None:
            raise ConfigError(f"there is no user {options.name}")
        print(token)
        print(f"The link to give: {link(config, 'reset', token)}", file=sys.stderr)

    on_database(config, work)
