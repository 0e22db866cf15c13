"""Loads the named SQL statements, and knows where all SQL stands."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent / "sql"
"""The folder of all SQL. In a checkout it stands beside `fw`, and this path is a link to it."""
MIGRATIONS: Final = ROOT / "migrations"
BLOCK: Final = re.compile(r"^-- (name|spread|fragment): (\w+)\n", re.MULTILINE)


@cache
def statements(*, is_spread: bool = False) -> Mapping[str, str]:
    """Read `sql/queries`: the statement `-- name: one` of `feedback.sql` is `feedback.one`.

    A `-- fragment: x` takes the place of every `{x}` in its file, and of every `{file.x}` in the others. If the tables are
    spread over machines, a `-- spread: x` is what the fragment is then.
    """
    found: dict[str, str] = {}
    files = {file.stem: BLOCK.split(file.read_text(encoding="utf-8"))[1:] for file in (ROOT / "queries").rglob("*.sql")}
    blocks = [
        (stem, kind, name, text.strip())
        for stem, parts in sorted(files.items())
        for kind, name, text in zip(parts[0::3], parts[1::3], parts[2::3], strict=True)
    ]
    fragments = {(stem, name): text for stem, kind, name, text in blocks if kind == "fragment"}
    if is_spread:
        fragments |= {(stem, name): text for stem, kind, name, text in blocks if kind == "spread"}
    for stem, kind, name, text in blocks:
        if kind == "name":
            whole = text.removesuffix(";")
            for (home, fragment), filling in fragments.items():
                whole = whole.replace(f"{{{home}.{fragment}}}", filling)
                if home == stem:
                    whole = whole.replace(f"{{{fragment}}}", filling)
            found[f"{stem}.{name}"] = whole
    return found


@cache
def migration_ids() -> tuple[str, ...]:
    """List the migrations that this release brings, in order."""
    return tuple(sorted(file.stem for file in MIGRATIONS.glob("*.sql") if not file.stem.endswith(".rollback")))
