"""What `fw tail` writes: a line an event, whatever a server sends, of an older or a newer release or out of its mind."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fw.terminal import printable

CURSORS: Final = range(2**63)
"""What a server takes for a cursor."""
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
    """Parse a frame; what is no object of JSON is an empty one. Unlike orjson this takes numbers that no double holds."""
    try:
        event = json.loads(frame.decode("utf-8", "replace"), parse_int=number)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def number(text: str) -> float:
    """Read a whole number; a long one roughly, for Python itself refuses those of thousands of digits."""
    return int(text) if len(text) < DIGITS else float(text)


def position(event: Mapping[str, Any]) -> int | None:
    """Return the cursor of an event, if it has one."""
    cursor = event.get("cursor")
    return cursor if type(cursor) is int and cursor in CURSORS else None


def line(event: Mapping[str, Any], width: int = 80, *, color: bool = False) -> str:
    """Tell an event in one line of a terminal."""
    kind, words = describe(event)
    mark, style = MARKS[kind]
    cursor = position(event)
    head = f"{mark} {'' if cursor is None else cursor:>6}  {clock(event)}"
    text = f"{head}  {words}"
    if len(text) > width:
        text = text[: max(1, width - 1)] + "…"
    return f"\x1b[{style}m{text[: len(head)]}\x1b[0m{text[len(head) :]}" if color else text


def clock(event: Mapping[str, Any]) -> str:
    """Tell when the feedback of an event was given; without any, when the event came."""
    feedback = event.get("feedback")
    try:
        when = datetime.fromisoformat(feedback["created_at"]) if feedback else datetime.now(UTC)
        return f"{when.astimezone():%H:%M:%S}"
    except (LookupError, TypeError, ValueError, OverflowError, OSError):
        return "--:--:--"


def describe(event: Mapping[str, Any]) -> tuple[str, str]:
    """Return which mark an event gets, and its words."""
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
    """Tell what somebody said: the rating, where it is one, and the message."""
    message = printable(feedback["message"])
    match feedback.get("metadata"):
        case {"rating": int() | float() as rating} if not isinstance(rating, bool) and 0 <= rating <= 10:
            return f"[{rating:g}] {message}".rstrip()
        case _:
            return message
