"""Feedback: what is submitted, and how an inbox is read."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Final

import orjson
from marshmallow import ValidationError, fields, validate

from fw import ids
from fw.web.fields import BIGGEST, After, Flag, Id, Many, Moment, Number, QueryFlag, Rule, Text, Whole, says, storable
from fw.web.schemas import Body, Headers, Query, exactly_one

MESSAGE: Final = 5000
METADATA_BYTES: Final = 4096
METADATA_LEVELS: Final = 5
TOO_LONG: Final = f"Must have at most {METADATA_BYTES:,} bytes as JSON, a widget's rating included."
RATING: Final = (0, 10)
"""The bounds of a rating, whoever asked for it."""
ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Metadata(Rule[dict[str, Any]]):
    """An object of at most 4 KiB as JSON and 5 levels, of numbers that a double holds; its `rating`, if present, is 0 to 10."""

    def read(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("Must be an object.")
        inspect(value)
        if is_too_long(value):
            raise ValidationError(TOO_LONG)
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


def inspect(metadata: dict[str, Any]) -> None:
    """Refuse what nests too deep or cannot be stored, and numbers that not every parser of JSON takes (RFC 8259, 6).

    It goes level by level, and stops where there is more than can fit: some 30,000 values fit into a body.
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
        # Each takes a byte at least.
        if len(below) > METADATA_BYTES:
            raise ValidationError(TOO_LONG)
        level = below


def is_double(number: int) -> bool:
    """Tell whether a double holds a number, be it with some of its digits rounded."""
    try:
        float(number)
    except OverflowError:
        return False
    return True


def is_too_long(metadata: Mapping[str, Any]) -> bool:
    return len(dump(metadata).encode()) > METADATA_BYTES


def dump(metadata: Mapping[str, Any]) -> str:
    """Write metadata as JSON, every character and every digit of it."""
    try:
        return orjson.dumps(metadata).decode()
    except TypeError:
        # What does not fit 64 bits; the standard library is slower, and knows no bound.
        return ENCODER.encode(metadata)


class Submit(Body):
    component = "FeedbackSubmit"
    message = Text(1, MESSAGE, trim=True, example="Well done!", required=True)
    metadata = Metadata(allow_none=True, load_default=None)


class IdempotencyKey(Rule[str]):
    """A name for one submission, by which its repetitions are known."""

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= 255 or not value.isprintable():
            raise ValidationError("Must be 1 to 255 printable characters.")
        return value

    def describe(self) -> dict[str, Any]:
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": r"^[!-~]([ -~]*[!-~])?$",
            "description": "Repeated with the same body within 24 hours, it is answered with the first one's id.",
        }


class SubmitHeaders(Headers):
    idempotency_key = IdempotencyKey(data_key="Idempotency-Key")


class List(Query):
    limit = Whole(1, 100, load_default=20, **says("Items of a page."))
    after = After(**says("The `next` of the page before."))
    is_read = QueryFlag(**says("Only what is read, or only what is not."))
    q = Text(0, 200, **says("Only what has this text in its message, in any case."))
    widget_id = Id(**says("Only what came through this widget."))
    from_ = Moment(data_key="from", **says("Only what came at this moment or day (in UTC), or later."))
    to = Moment(**says("Only what came at this moment or day (in UTC), or earlier."))
    order = fields.String(
        load_default="newest", validate=validate.OneOf(("newest", "oldest")), **says("Which items come first.")
    )


class Mark(Body):
    component = "FeedbackMark"
    is_read = Flag(load_default=True)


class MarkMany(Body):
    component = "FeedbackMarkMany"
    ids = Many(Id(), 1, 500, **says("These items."))
    up_to = Whole(0, BIGGEST, **says("All that arrived up to this cursor."))
    _one_way = exactly_one("ids", "up_to", example={"up_to": 42})


class Since(Query):
    since = Whole(0, BIGGEST, load_default=0, **says("The cursor that you have."))
    wait = Number(0, 30, load_default=0.0, **says("Seconds to wait for a change where there is none."))


class Live(Query):
    since = Whole(0, BIGGEST, **says("The cursor that you have; without it, what happens from now on."))


class Hello(Body):
    """The first message of a live socket that has not said who it is."""

    component = "FeedbackHello"
    type = fields.String(required=True, validate=validate.Equal("auth"))
    token = fields.String(required=True)


def span(low: Any, high: Any) -> tuple[str, str]:
    """Return the ids between which everything lies that was made from `low` to `high`: moments, days, or None (open)."""
    first = ids.LOWEST if low is None else ids.just_before(start(low))
    try:
        last = ids.HIGHEST if high is None else ids.just_before(end(high))
    except OverflowError:
        # The end of all dates.
        last = ids.HIGHEST
    return first, last


def start(moment: Any) -> datetime:
    return moment if isinstance(moment, datetime) else midnight(moment)


def end(moment: Any) -> datetime:
    """Return the first millisecond after the moment, or after the day."""
    if isinstance(moment, datetime):
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000) + timedelta(milliseconds=1)
    return midnight(moment) + timedelta(days=1)


def midnight(day: Any) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ids.EPOCH.tzinfo)


SUBMIT: Final = Submit()
SUBMIT_HEADERS: Final = SubmitHeaders()
LIST: Final = List()
MARK: Final = Mark()
MARK_MANY: Final = MarkMany()
SINCE: Final = Since()
LIVE: Final = Live()
HELLO: Final = Hello()
