"""A bar chart of submissions a second, as an SVG that is readable on light and on dark pages."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any, Final

from tests.bench.report import Section

WIDTH: Final = 760
NAMES: Final = 150
BARS: Final = 500
BAR: Final = 16
GAP: Final = 18
TOP: Final = 74
BOTTOM: Final = 4
STYLE: Final = """
  .page { fill: #ffffff } text { fill: #1f2328; font: 13px system-ui, sans-serif } .small { fill: #59636e; font-size: 12px }
  .title { font-size: 15px; font-weight: 600 }
  .b0 { fill: #c4d9f4 } .b1 { fill: #8fb8ea } .b2 { fill: #4f8ad3 } .b3 { fill: #1f5fb0 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9198a1 }
    .b0 { fill: #24476f } .b1 { fill: #3a6fae } .b2 { fill: #5f9fe6 } .b3 { fill: #a5cfff }
  }
"""


def draw(section: Section) -> str:
    """Draw the rows of submissions: a group for each candidate, a bar for each number of connections."""
    names = list(dict.fromkeys(row["candidate"] for row in section.rows))
    levels = list(dict.fromkeys(row["connections"] for row in section.rows))
    step = len(levels) * BAR + GAP
    height = TOP + len(names) * step + BOTTOM
    most = max(row["a second"] for row in section.rows)
    title = "Submissions a second, stored and acknowledged (bare stores nothing)"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            # Its own background: the page's scheme and the reader's may differ.
            f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
            f'<text class="title" x="20" y="30">{escape(title)}</text>',
            *legend(levels),
            *(line for n, name in enumerate(names) for line in group(section, name, TOP + n * step, most)),
            "</svg>",
            "",
        ]
    )


def legend(levels: Sequence[int]) -> Iterator[str]:
    for n, connections in enumerate(levels):
        x = NAMES + n * 130
        yield f'<rect class="b{n}" x="{x}" y="45" width="11" height="11" rx="2"/>'
        yield f'<text class="small" x="{x + 17}" y="55">{connections} connection{"s" if connections > 1 else ""}</text>'


def group(section: Section, name: str, top: int, most: float) -> Iterator[str]:
    rows: list[Any] = [row for row in section.rows if row["candidate"] == name]
    middle = top + len(rows) * BAR / 2 + 4
    yield f'<text x="{NAMES - 12}" y="{middle:g}" text-anchor="end">{escape(name)}</text>'
    for n, row in enumerate(rows):
        y, width = top + n * BAR, max(1.0, row["a second"] / most * BARS)
        yield f'<rect class="b{n}" x="{NAMES}" y="{y}" width="{width:.1f}" height="{BAR - 2}" rx="2"/>'
        yield f'<text class="small" x="{NAMES + width + 6:.1f}" y="{y + 11.5:g}">{row["a second"]:,.0f}</text>'
