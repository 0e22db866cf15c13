"""Loads the named SQL statements, and knows where all SQL stands."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent / "sql"
"""The folder of all SQL. In a checkout it stands beside `fw`, and this path is a link to it."""
MIGRATIONS: Final = ROOT / "migrations"
BLOCK: Final = re.compile(r"^-- (name|fragment): (\w+)\n", re.MULTILINE)


@cache
def statements() -> Mapping[str, str]:
    """Read `sql/queries`: the statement `-- name: one` of `feedback.sql` is `feedback.one`.

    A `-- fragment: x` takes the place of every `{x}` in its file.
    """
    found: dict[str, str] = {}
    for file in sorted((ROOT / "queries").rglob("*.sql")):
        _, *parts = BLOCK.split(file.read_text(encoding="utf-8"))
        blocks = list(zip(parts[0::3], parts[1::3], parts[2::3], strict=True))
        fragments = {f"{{{name}}}": text.strip() for kind, name, text in blocks if kind == "fragment"}
        for kind, name, text in blocks:
            if kind == "name":
                whole = text.strip().removesuffix(";")
                for place, fragment in fragments.items():
                    whole = whole.replace(place, fragment)
                found[f"{file.stem}.{name}"] = whole
    return found


@cache
def migration_ids() -> tuple[str, ...]:
    """List the migrations that this release brings, in order."""
    return tuple(sorted(file.stem for file in MIGRATIONS.glob("*.sql") if not file.stem.endswith(".rollback")))
