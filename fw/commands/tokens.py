"""`fw token`: the tokens of other systems."""

import argparse
from datetime import UTC, datetime, timedelta

from fw.accounts.tokens import BILLING, Tokens
from fw.commands.command import Subparsers, count
from fw.commands.runtime import on_database
from fw.config import Config, ConfigError
from fw.database.pool import Database
from fw.ids import is_id


def register(commands: Subparsers) -> None:
    command = commands.add_parser("token", help="make, list or revoke tokens of other systems")
    command.add_argument("--scope", choices=[BILLING], help="what the token is good for")
    command.add_argument("--days", type=count, default=365, help="how many days it lives (365)")
    command.add_argument("--list", action="store_true", help="list the tokens that there are, by their ids")
    command.add_argument("--revoke", metavar="ID", help="end the token with this id")
    command.set_defaults(run=run)


def run(config: Config, options: argparse.Namespace) -> None:
    if options.list:
        on_database(config, print_all)
    elif options.revoke:
        on_database(config, lambda database: revoke(database, options.revoke))
    elif options.scope:
        make(config, options.scope, timedelta(days=options.days))
    else:
        raise ConfigError("token: say one of --scope, --list and --revoke")


def make(config: Config, scope: str, life: timedelta) -> None:
    """Open a session for another system and print its token."""
    ticket = Tokens(config, Database(config)).issue_service(scope, life)
    on_database(config, lambda database: database.change("sessions.open_service", ticket.session_id, scope, ticket.expires_at))
    print(ticket.token)


async def print_all(database: Database) -> None:
    for row in await database.rows("sessions.list_services"):
        state = "revoked" if row["revoked_at"] else "expired" if row["expires_at"] <= datetime.now(UTC) else "live"
        print(f"{row['id']}  {row['scope']}  {state}  until {row['expires_at']:%Y-%m-%d}")


async def revoke(database: Database, token_id: str) -> None:
    """Revoke a token. Raises `ConfigError` if there is none with this id."""
    if not is_id(token_id) or await database.change("sessions.revoke_service", token_id) is None:
        raise ConfigError(f"there is no token {token_id}")
    print("revoked")
