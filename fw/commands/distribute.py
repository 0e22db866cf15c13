"""`fw distribute`."""

import argparse
from typing import TYPE_CHECKING

from fw.commands.command import Subparsers, count
from fw.config import Config, ConfigError

if TYPE_CHECKING:
    from fw.database.distribution import State


def register(commands: Subparsers) -> None:
    command = commands.add_parser("distribute", help="spread the tables over the nodes of a Citus cluster")
    command.add_argument("--shards", type=count, default=32, metavar="N", help="how many parts the inboxes are cut into (32)")
    command.add_argument("--status", action="store_true", help="show the nodes and what is not spread, and change nothing")
    command.set_defaults(run=run)


def run(config: Config, options: argparse.Namespace) -> int:
    from fw.database import distribution, migrations, spreading

    if not options.status:
        spreading.distribute(config, options.shards, lambda step: print(step, flush=True))
    with migrations.connect(config) as connection:
        found = distribution.state(connection)
    if found is None:
        raise ConfigError("the extension citus is not in this database")
    show(found)
    return 0 if found.is_whole else 1


def show(found: "State") -> None:
    from fw.database.distribution import megabytes

    for node in found.nodes:
        kind = "coordinator" if node.group == 0 else "node" if node.has_shards else "node without data"
        away = "" if node.is_active else ", not active"
        print(f"{node.address}  {kind}{away}: {node.shards} shards, {megabytes(node.bytes)}")
    for name in found.missing_tables:
        print(f"not spread: {name}")
    for name in found.missing_functions:
        print(f"not run by its node: {name}()")
    for name, size in found.left.items():
        print(f"left with the coordinator: {name}, {megabytes(size)}")
    if found.is_whole:
        print("everything is spread")
