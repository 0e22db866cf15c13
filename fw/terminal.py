"""What may be written to a terminal of what others wrote: files, programs, servers."""

import sys


def printable(text: str) -> str:
    """Make one line of a text, and nothing that a terminal would take for a command."""
    line = " ".join(text.split())
    return line if line.isprintable() else "".join(character if character.isprintable() else " " for character in line)


def complain(text: str) -> None:
    """Say what is wrong in one line, apart from what a command writes."""
    print(f"fw: {printable(text)}", file=sys.stderr, flush=True)
