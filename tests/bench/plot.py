"""Bar charts of what was measured, as SVG that is readable on light and on dark pages."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

from tests.bench.report import Section
from tests.bench.sections.costs import PLAIN, SPREAD

WIDTH: Final = 760
NAMES: Final = 190
BARS: Final = 470
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


Groups = Mapping[str, Mapping[str, float]]
"""Figures by what they are of, which is a group, and by what each bar of it is of."""


def submissions(section: Section) -> str:
    """Draw the rows of section a: a group for each candidate, a bar for each number of connections."""
    groups: dict[str, dict[str, float]] = {}
    for row in section.rows:
        level = f"{row['connections']} connection{'s' if row['connections'] > 1 else ''}"
        groups.setdefault(row["candidate"], {})[level] = row["a second"]
    return draw("Submissions a second, stored and acknowledged (bare stores nothing)", groups)


def costs(section: Section) -> str:
    """Draw the rows of section g that are of the service itself: a group for what is done where, a bar for each server."""
    groups: dict[str, dict[str, float]] = {}
    for row in section.rows:
        if row["unit"] == "us" and row["what"] in ("a submission", "a list of 20") and row["on"] in (PLAIN, SPREAD):
            server = "nodes" if row["of"].startswith("node") else row["of"]
            group = groups.setdefault(f"{row['what']}, {'one server' if row['on'] == PLAIN else 'Citus'}", {})
            group[server] = group.get(server, 0.0) + row["cost"]
    return draw("Microseconds of a processor, by server", groups)


def draw(title: str, groups: Groups) -> str:
    labels = list(dict.fromkeys(label for bars in groups.values() for label in bars))
    count = sum(map(len, groups.values()))
    height = TOP + count * BAR + len(groups) * GAP + BOTTOM
    most = max(figure for bars in groups.values() for figure in bars.values())
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            # Its own background: the page's scheme and the reader's may differ.
            f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
            f'<text class="title" x="20" y="30">{escape(title)}</text>',
            *legend(labels),
            *all_bars(groups, labels, most),
            "</svg>",
            "",
        ]
    )


def legend(labels: Sequence[str]) -> Iterator[str]:
    for n, label in enumerate(labels):
        x = NAMES + n * 130
        yield f'<rect class="b{n}" x="{x}" y="45" width="11" height="11" rx="2"/>'
        yield f'<text class="small" x="{x + 17}" y="55">{escape(label)}</text>'


def all_bars(groups: Groups, labels: Sequence[str], most: float) -> Iterator[str]:
    y = TOP
    for name, bars in groups.items():
        middle = y + len(bars) * BAR / 2 + 4
        yield f'<text x="{NAMES - 12}" y="{middle:g}" text-anchor="end">{escape(name)}</text>'
        for label, figure in bars.items():
            width = max(1.0, figure / most * BARS)
            yield f'<rect class="b{labels.index(label)}" x="{NAMES}" y="{y}" width="{width:.1f}" height="{BAR - 2}" rx="2"/>'
            yield f'<text class="small" x="{NAMES + width + 6:.1f}" y="{y + 11.5:g}">{figure:,.0f}</text>'
            y += BAR
        y += GAP
