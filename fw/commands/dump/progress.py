"""How far a backup or a restore is, for whoever watches."""

from typing import IO, Self

from fw.terminal import printable


class Progress:
    """Tells how far it is: on a terminal in one line that is written over, elsewhere in a line for each table."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The next output has the line for itself.
        self.more("")

    def step(self, text: str) -> None:
        """Begin a new step."""
        text = printable(text)
        self._write(f"\r\x1b[K{text}" if self._is_terminal else f"{text}\n")

    def more(self, text: str) -> None:
        """Tell more of the same step, if that takes no further line."""
        if self._is_terminal:
            self.step(text)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def in_words(size: float) -> str:
    """Tell a number of bytes as people do."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
