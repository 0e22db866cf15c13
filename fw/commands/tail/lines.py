"""What `fw tail` writes: a line for each event, whatever a server of another release, or a broken one, sends."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fw.terminal import printable

CURSORS: Final = range(2**63)
"""The numbers that a server accepts as a cursor."""
DIGITS: Final = 20
"""More than any cursor has."""
MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "created": ("●", "1;32"),
    "read": ("✓", "2"),
    "unread": ("○", "33"),
    "deleted": ("✗", "31"),
    "resync": ("↻", "36"),
    "other": ("?", "35"),
}


def read(frame: bytes) -> Mapping[str, Any]:
    """Parse a frame; one that is not a JSON object is taken for an empty one. Unlike orjson this takes numbers of any size."""
    try:
        event = json.loads(frame.decode("utf-8", "replace"), parse_int=number)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def number(text: str) -> float:
    """Read a whole number, and a long one as a float: Python refuses to read thousands of digits as an integer."""
    return int(text) if len(text) < DIGITS else float(text)


def position(event: Mapping[str, Any]) -> int | None:
    """Return the cursor of an event, if it has one."""
    cursor = event.get("cursor")
    return cursor if type(cursor) is int and cursor in CURSORS else None


def line(event: Mapping[str, Any], width: int = 80, *, color: bool = False) -> str:
    """Return an event as one line of a terminal."""
    kind, words = describe(event)
    mark, style = MARKS[kind]
    cursor = position(event)
    head = f"{mark} {'' if cursor is None else cursor:>6}  {clock(event)}"
    text = f"{head}  {words}"
    if len(text) > width:
        text = text[: max(1, width - 1)] + "…"
    return f"\x1b[{style}m{text[: len(head)]}\x1b[0m{text[len(head) :]}" if color else text


def clock(event: Mapping[str, Any]) -> str:
    """Return the local time at which the feedback of an event was given, or the present time if it has none."""
    feedback = event.get("feedback")
    try:
        when = datetime.fromisoformat(feedback["created_at"]) if feedback else datetime.now(UTC)
        return f"{when.astimezone():%H:%M:%S}"
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        return "--:--:--"


def describe(event: Mapping[str, Any]) -> tuple[str, str]:
    """Return the name of an event's mark, and its words."""
    match event:
        case {"event": "created", "feedback": {"message": str()} as feedback}:
            return "created", told(feedback)
        case {"event": "updated", "feedback": {"message": str(), "is_read": bool(is_read)} as feedback}:
            kind = "read" if is_read else "unread"
            return kind, f"{kind}: {told(feedback)}"
        case {"event": "deleted"}:
            return "deleted", "deleted"
        case {"event": "resync"}:
            return "resync", "read the list anew"
        case {"event": "hello" | "created" | "updated" as kind}:
            return "other", f"{kind}: cannot be read"
        case {"event": str(kind)}:
            return "other", f"{printable(kind)}: is not known to this release"
        case _:
            return "other", "the server sent what cannot be read"


def told(feedback: Mapping[str, Any]) -> str:
    """Return the rating, if there is one, and the message of some feedback."""
    message = printable(feedback["message"])
    match feedback.get("metadata"):
        case {"rating": int() | float() as rating} if not isinstance(rating, bool) and 0 <= rating <= 10:
            return f"[{rating:g}] {message}".rstrip()
        case _:
            return message
