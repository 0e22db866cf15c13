"""`fw`: the parser over its commands, and the exit code of whatever a command returns or raises."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

from fw import __version__
from fw.commands import backup, distribute, migrate, openapi, restore, serve, tokens, user
from fw.commands.command import Command
from fw.commands.doctor import command as doctor
from fw.commands.runtime import complete_config
from fw.commands.tail import command as tail
from fw.config import ConfigError, load
from fw.errors import Problem
from fw.telemetry import logs
from fw.terminal import complain, complete_streams, drop_output

log = logging.getLogger("fw.cli")

COMMANDS: Final[Sequence[Command]] = (serve, migrate, distribute, tokens, tail, backup, restore, openapi, doctor, user)
"""In the order in which `fw --help` lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 if something outside is wrong, 2 for wrong usage."""
    complete_streams()
    options = parser().parse_args(arguments)
    try:
        config = load(os.environ)
        logs.configure(config.log_level, config.log_format)
        with complete_config(config) if options.needs_database else nullcontext(config) as ready:
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
        # The reader has had enough, as in "fw openapi | head".
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
    for command in COMMANDS:
        command.register(commands)
    return top
