"""What a command is, and the arguments that several commands take."""

import argparse
from typing import Protocol, TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


class Command(Protocol):
    """A module of this folder, as `fw.cli` sees it.

    The parser that it registers sets `run`, a function of the configuration and the options that returns the exit code, or None
    for 0. It also sets `needs_database` to False if the command does without one: else the configuration names one.
    """

    def register(self, commands: Subparsers) -> None: ...


def count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 36500:
        raise argparse.ArgumentTypeError("must be from 1 to 36500")
    return number
