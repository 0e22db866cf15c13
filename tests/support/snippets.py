"""The README's code, which tests run as it stands there."""

import re
from pathlib import Path

README = Path(__file__).parent.parent.parent / "README.md"


def snippet(name: str) -> str:
    """Return the code that follows the comment with this name."""
    found = re.search(rf"<!-- {re.escape(name)} -->\n```\w+\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"the README has no {name}"
    return found[1]
