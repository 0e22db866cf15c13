"""Writing to a terminal, in particular text from files, programs and servers, which may have control characters."""

import io
import os
import sys
from pathlib import Path
from typing import Final

STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def printable(text: str) -> str:
    """Return a text as one line, without characters that a terminal would take for a command."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(character if character.isprintable() else " " for character in line)


def complain(text: str) -> None:
    """Write one line about what is wrong to standard error."""
    print(f"fw: {printable(text)}", file=sys.stderr, flush=True)


def complete_streams() -> None:
    """Make sure that the three standard streams exist, and that standard output takes any text.

    If one is closed Python has None for it, and the next file or socket that is opened gets its number.
    """
    for name, mode in STREAMS:
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Drop output that cannot be written any more, so that Python does not try again at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
