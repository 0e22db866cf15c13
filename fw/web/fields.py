"""Fields with one rule each, which describe themselves in JSON Schema too."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import cache
from itertools import islice
from typing import Any, ClassVar, Final, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from marshmallow import ValidationError, fields, missing, validate

from fw.ids import is_id
from fw.web import paging
from fw.web.schemas import NAMED, Query

T = TypeVar("T")

BIGGEST: Final = 2**63 - 1
"""PostgreSQL's largest bigint."""

SPACE: Final = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space as Python knows it, as part of a character class: "\\s" means another set in ECMA-262."""
PORT: Final = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
HEX: Final = "[0-9A-Fa-f]{1,4}"
OCTET: Final = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
LAST: Final = rf"({HEX}:{HEX}|{OCTET}(\.{OCTET}){{3}})"
IPV6: Final = "|".join(
    (
        f"({HEX}:){{6}}{LAST}",
        f"::({HEX}:){{5}}{LAST}",
        *(f"(({HEX}:){{0,{before}}}{HEX})?::({HEX}:){{{4 - before}}}{LAST}" for before in range(5)),
        f"(({HEX}:){{0,5}}{HEX})?::{HEX}",
        f"(({HEX}:){{0,6}}{HEX})?::",
    )
)
"""An address as it stands between the brackets of a URL's host (RFC 3986, 3.2.2)."""
NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
"""Stricter than `float`, which also takes other digits, "_" between digits, and infinities."""
MOMENT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)([Zz]|[ +-][0-9]{2}:?[0-9]{2})?)?"
)
"""A day or a timestamp (RFC 3339); the offset is optional."""


def says(text: str) -> dict[str, Any]:
    """Return the options that give a field a text in the API's description."""
    return {"metadata": {"description": text}}


def in_any_case(word: str) -> str:
    """Return the pattern of a word in any case: Python and ECMA-262 share no flag for it."""
    return "".join(f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else letter for letter in word)


def storable(text: str) -> str:
    """Return the text. Raises `ValidationError` if PostgreSQL cannot store it: NUL, lone surrogates."""
    if "\0" in text:
        raise ValidationError("Must not contain the NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationError("Must not contain lone surrogates.") from None
    return text


class Rule(fields.Field[T]):
    """A field that is one function: `read` returns the value, or raises `ValidationError`."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> T:
        return self.read(value)

    def deserialize(self, value: Any, attr: str | None = None, data: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """Read a value at once; marshmallow's slower way is taken for missing values, nulls, and fields with validators."""
        if value is None or value is missing or self.validators:
            return super().deserialize(value, attr, data, **kwargs)
        return self.read(value)

    def read(self, value: Any) -> T:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return the JSON Schema of what passes, as far as JSON Schema can say it."""
        raise NotImplementedError


class Matching(Rule[str]):
    """A text that matches a pattern as a whole; the pattern has to mean the same in Python and in ECMA-262."""

    def __init__(self, pattern: str, error: str, *, high: int | None = None, example: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.pattern, self.error, self.high, self.example = re.compile(pattern), error, high, example

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or (self.high and len(value) > self.high) or not self.pattern.fullmatch(value):
            raise ValidationError(self.error)
        return value

    def describe(self) -> dict[str, Any]:
        shape = {"type": "string", "pattern": f"^(?:{self.pattern.pattern})$", "examples": [self.example]}
        return {**shape, "maxLength": self.high} if self.high else shape


class Text(Rule[str]):
    """A text of a bounded number of characters; with `trim`, outer white space is removed first."""

    def __init__(self, low: int, high: int, *, trim: bool = False, example: str = "text", **options: Any) -> None:
        super().__init__(**options)
        self.low, self.high, self.trim, self.example = low, high, trim, example

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValidationError("Must be text.")
        text = storable(value.strip() if self.trim else value)
        if len(text) < self.low:
            raise ValidationError("Must not be empty." if self.low == 1 else f"Must have at least {self.low} characters.")
        if len(text) > self.high:
            raise ValidationError(f"Must have at most {self.high:,} characters.")
        return text

    def describe(self) -> dict[str, Any]:
        pattern = rf"^[{SPACE}]*[^{SPACE}\u0000][^\u0000]*$" if self.trim and self.low else r"^[^\u0000]*$"
        shape: dict[str, Any] = {"type": "string", "maxLength": self.high, "pattern": pattern, "examples": [self.example]}
        if self.low:
            shape["minLength"] = self.low
        if self.trim:
            shape["description"] = "White space around it is removed, and does not count."
        return shape


class Flag(Rule[bool]):
    """A JSON boolean, and nothing that merely looks like one."""

    def read(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value

    def describe(self) -> dict[str, Any]:
        return {"type": "boolean"}


class Yes(Flag):
    """A JSON boolean that asks for something, so that false would say nothing."""

    def read(self, value: Any) -> bool:
        if value is not True:
            raise ValidationError("Must be true, or left out.")
        return True

    def describe(self) -> dict[str, Any]:
        return {"type": "boolean", "const": True}


class Whole(Rule[int]):
    """A whole number within bounds: an integer in JSON, decimal digits in a query string."""

    def __init__(self, low: int, high: int, **options: Any) -> None:
        super().__init__(**options)
        self.low, self.high = low, high

    def read(self, value: Any) -> int:
        if isinstance(value, str) and isinstance(self.parent, Query) and re.fullmatch(r"-?[0-9]{1,20}", value):
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            # JSON knows no difference between 10 and 10.0 (JSON Schema 2020-12, 6.1.1).
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValidationError("Must be a whole number.")
        if not self.low <= value <= self.high:
            raise ValidationError(f"Must be from {self.low} to {self.high}.")
        return value

    def describe(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class Number(Rule[float]):
    """A number within bounds in a query string, written as in JSON."""

    def __init__(self, low: float, high: float, **options: Any) -> None:
        super().__init__(**options)
        self.low, self.high = low, high

    def read(self, value: Any) -> float:
        if not isinstance(value, str) or not NUMBER.fullmatch(value):
            raise ValidationError("Must be a number.")
        number = float(value)
        if not self.low <= number <= self.high:
            raise ValidationError(f"Must be from {self.low} to {self.high}.")
        return number

    def describe(self) -> dict[str, Any]:
        return {"type": "number", "minimum": self.low, "maximum": self.high}


class Id(Rule[str]):
    """A UUID, in lower case."""

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not is_id(value):
            raise ValidationError("Must be a UUID.")
        return value.lower()

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "format": "uuid"}


class Many(fields.List[T]):
    """A list of bounded length, which is checked before its items; at most `NAMED` invalid items are named."""

    def __init__(self, each: fields.Field[T], low: int | None, high: int, **options: Any) -> None:
        super().__init__(each, validate=validate.Length(low, high), **options)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> list[T | None]:
        if isinstance(value, list):
            self._validate(value)
        try:
            return super()._deserialize(value, attr, data, **kwargs)
        except ValidationError as error:
            if not isinstance(error.messages, dict) or len(error.messages) <= NAMED:
                raise
            named = dict(islice(error.messages.items(), NAMED))
            raise ValidationError({**named, "_schema": [f"Not valid: {len(error.messages) - NAMED:,} more."]}) from None


class After(Rule[str]):
    """The `next` of another page; the value is the id that the page begins after."""

    def read(self, value: Any) -> str:
        try:
            return paging.read_after(value)
        except ValueError:
            raise ValidationError("Must be the 'next' of another page.") from None

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?:{paging.PATTERN.pattern})$"}


class QueryFlag(Rule[bool]):
    """A boolean in a query string."""

    WORDS: ClassVar[dict[str, bool]] = {"true": True, "1": True, "false": False, "0": False}

    def read(self, value: Any) -> bool:
        if value not in self.WORDS:
            raise ValidationError("Must be true or false.")
        return self.WORDS[value]

    def describe(self) -> dict[str, Any]:
        return {"type": "boolean"}


class Day(Rule[date]):
    """A calendar day, as 2026-01-31."""

    def read(self, value: Any) -> date:
        if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            raise ValidationError("Must be a date such as 2026-01-31.")
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValidationError("There is no such day.") from None

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "format": "date"}


class Zone(Rule[ZoneInfo]):
    """A time zone by its IANA name."""

    def read(self, value: Any) -> ZoneInfo:
        if not isinstance(value, str) or value not in time_zones():
            raise ValidationError("Must be the name of a time zone, such as Europe/Berlin.")
        return ZoneInfo(value)

    def _serialize(self, value: ZoneInfo | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return value.key if value else None

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "format": "time-zone", "examples": ["Europe/Berlin"]}


class Moment(Rule["datetime | date"]):
    """A timestamp (in UTC if it has no offset) or a day."""

    def read(self, value: Any) -> datetime | date:
        match = MOMENT.fullmatch(value) if isinstance(value, str) else None
        if match:
            day, time, offset = match.groups()
            try:
                if time is None:
                    return date.fromisoformat(day)
                # In a query string "+" means a space: an offset whose plus was not escaped gets it back.
                moment = datetime.fromisoformat(f"{day}T{time}{(offset or 'Z').upper().replace(' ', '+')}")
                return moment.astimezone(UTC)
            except (ValueError, OverflowError):
                pass
        raise ValidationError("Must be a date (2026-01-31) or a timestamp (2026-01-31T12:00:00Z).")

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}


@cache
def time_zones() -> frozenset[str]:
    return frozenset(available_timezones())
