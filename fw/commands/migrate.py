"""`fw migrate`."""

import argparse

from fw.commands.command import Subparsers, count
from fw.config import Config


def register(commands: Subparsers) -> None:
    command = commands.add_parser("migrate", help="bring the database up to this release")
    command.add_argument("--rollback", type=count, metavar="N", help="take back the newest N migrations instead")
    command.add_argument("--status", action="store_true", help="list what is applied and what is not, and change nothing")
    command.set_defaults(run=run)


def run(config: Config, options: argparse.Namespace) -> None:
    from fw.database import migrations

    if options.status:
        for migration_id, applied in migrations.status(config).items():
            print(f"{'applied' if applied else 'missing'}  {migration_id}")
    elif options.rollback:
        for migration_id in migrations.roll_back(config, options.rollback):
            print(f"rolled back  {migration_id}")
    else:
        print("\n".join(f"applied  {name}" for name in migrations.migrate(config)) or "nothing to do")
