"""The parser of `fw backup`."""

import argparse
import sys
from pathlib import Path

from fw.commands.command import Subparsers
from fw.commands.runtime import unwind_on_sigterm
from fw.config import Config
from fw.terminal import printable


def register(commands: Subparsers) -> None:
    command = commands.add_parser("backup", help="write everything that is stored to a file")
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--force", action="store_true", help="replace FILE if it exists")
    command.set_defaults(run=run)


def run(config: Config, options: argparse.Namespace) -> None:
    from fw.commands.dump.progress import Progress
    from fw.commands.dump.writing import backup

    unwind_on_sigterm()
    with Progress(sys.stderr) as progress:
        done = backup(config, options.file, progress, force=options.force)
    print(printable(done))
