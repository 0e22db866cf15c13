"""What may be written to a terminal of what others wrote: files, programs, servers."""

import io
import os
import sys
from pathlib import Path
from typing import Final

STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def printable(text: str) -> str:
    """Make one line of a text, and nothing that a terminal would take for a command."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(character if character.isprintable() else " " for character in line)


def complain(text: str) -> None:
    """Say what is wrong in one line, apart from what a command writes."""
    print(f"fw: {printable(text)}", file=sys.stderr, flush=True)


def complete_streams() -> None:
    """Have the three standard streams be there, and take any text.

    Where one is closed Python has None, and the next file or socket that is opened gets its number.
    """
    for name, mode in STREAMS:
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Forget what cannot be written any more: it is not to be tried again at the exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
