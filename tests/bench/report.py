"""What the sections found: tables of text, targets that hold or do not, and the same as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

MARKS: Final = {">=": "at least", "<=": "at most", "<": "less than"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is to be."""

    what: str
    value: float
    relation: Literal[">=", "<=", "<"]
    limit: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        if self.relation == ">=":
            return self.value >= self.limit
        return self.value <= self.limit if self.relation == "<=" else self.value < self.limit

    def line(self) -> str:
        said = f"{self.value:,.2f}, {MARKS[self.relation]} {self.limit:g}{' ' + self.unit if self.unit else ''}"
        return f"{'holds ' if self.holds else 'MISSED'}  {self.what}: {said}"

    def data(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "value": round(self.value, 4),
            "relation": self.relation,
            "limit": self.limit,
            "unit": self.unit,
            "holds": self.holds,
        }


@dataclass(slots=True)
class Section:
    """The findings of one section: rows of figures by column, and targets."""

    title: str
    rows: list[Mapping[str, Any]] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def text(self) -> str:
        lines = [self.title, "", *table(self.rows), ""]
        return "\n".join([*lines, *(target.line() for target in self.targets), ""])

    def data(self) -> dict[str, Any]:
        rows = [{name: rounded(value) for name, value in row.items()} for row in self.rows]
        return {"title": self.title, "rows": rows, "targets": [target.data() for target in self.targets]}


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Align rows under the names of their columns: figures to the right, words to the left."""
    names = list(rows[0])
    cells = [names, *([shown(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(names))]
    is_words = [isinstance(rows[0][name], str) for name in names]
    return [
        "  ".join(
            cell.ljust(width) if words else cell.rjust(width) for cell, width, words in zip(line, widths, is_words, strict=True)
        ).rstrip()
        for line in cells
    ]


def shown(value: Any) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
