"""Metadata: what a submission carries beside its message."""

import json
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

import orjson
from marshmallow import ValidationError

from fw.web.fields import Rule, storable

METADATA_BYTES: Final = 4096
METADATA_LEVELS: Final = 5
TOO_LONG: Final = f"Must have at most {METADATA_BYTES:,} bytes as JSON, a widget's rating included."
RATING: Final = (0, 10)
"""The bounds of a rating in metadata; a widget may have narrower ones."""
ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Metadata(Rule[dict[str, Any]]):
    """An object of at most 4 KiB as JSON and 5 levels, of numbers that a double holds; its `rating`, if present, is 0 to 10."""

    def read(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("Must be an object.")
        check(value)
        low, high = RATING
        rating = value.get("rating", low)
        if isinstance(rating, bool) or not isinstance(rating, int | float):
            raise ValidationError({"rating": ["Must be a number."]})
        if not low <= rating <= high:
            raise ValidationError({"rating": [f"Must be from {low} to {high}."]})
        return value

    def describe(self) -> dict[str, Any]:
        low, high = RATING
        return {
            "type": "object",
            "properties": {"rating": {"type": "number", "minimum": low, "maximum": high}},
            "additionalProperties": True,
            "description": (
                f"At most {METADATA_BYTES:,} bytes as JSON (a widget's rating included), {METADATA_LEVELS} levels deep, "
                "without NUL characters, and with numbers that a double holds. Integers keep all of their digits."
            ),
            "examples": [{"page": "/pricing"}],
        }


def check(metadata: dict[str, Any]) -> None:
    """Raises `ValidationError` if metadata cannot be stored."""
    try:
        written = orjson.dumps(metadata)
    except TypeError:
        # A long integer, a lone surrogate, or too many levels.
        written = b""
    # With no further brace, no bracket and no escape it is flat and can be stored: most of what is sent.
    if not written or written.count(b"{") > 1 or b"[" in written or b"\\u" in written:
        check_values(metadata)
        written = dump(metadata).encode()
    if len(written) > METADATA_BYTES:
        raise ValidationError(TOO_LONG)


def check_values(metadata: dict[str, Any]) -> None:
    """Raises `ValidationError` if values nest too deep or cannot be stored, or a number is too large for a double: not every
    JSON parser reads such numbers (RFC 8259, 6).

    Goes level by level, and stops as soon as there are more values than fit into metadata: a body has room for some 30,000.
    """
    level: list[Any] = [metadata]
    for depth in count(1):
        below: list[Any] = []
        for part in level:
            if isinstance(part, str):
                storable(part)
            elif isinstance(part, dict | list):
                if depth > METADATA_LEVELS:
                    raise ValidationError(f"Must have at most {METADATA_LEVELS} levels.")
                below.extend(part)
                if isinstance(part, dict):
                    below.extend(part.values())
            elif isinstance(part, int) and not is_double(part):
                raise ValidationError("Must have no number that a double cannot hold.")
        if not below:
            return
        # Each value takes at least one byte.
        if len(below) > METADATA_BYTES:
            raise ValidationError(TOO_LONG)
        level = below


def is_double(number: int) -> bool:
    """Tell whether a number is within the range of a double; some of its digits may be lost."""
    try:
        float(number)
    except OverflowError:
        return False
    return True


def is_too_long(metadata: Mapping[str, Any]) -> bool:
    return len(dump(metadata).encode()) > METADATA_BYTES


def dump(metadata: Mapping[str, Any]) -> str:
    """Write metadata as JSON, without losing a character or a digit."""
    try:
        return orjson.dumps(metadata).decode()
    except TypeError:
        # An integer has more than 64 bits, which only the slower standard library writes.
        return ENCODER.encode(metadata)
