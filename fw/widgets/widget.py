"""Widgets: their settings, what is sent through them, and the days of their statistics."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from marshmallow import Schema, ValidationError, fields, validate

from fw.inbox.fields import MESSAGE, RATING, TOO_LONG, Metadata, is_too_long
from fw.web.fields import IPV6, PORT, After, Day, Flag, Many, Matching, Rule, Text, Whole, in_any_case, says
from fw.web.schemas import Body, Query, at_least_one

RATINGS: Final[Mapping[str, tuple[int, int]]] = {"rating": (1, 5), "nps": (0, 10)}
"""The types that ask for a number, and its bounds."""
TYPES: Final = ("button", "inline", "popup", *RATINGS)
THEMES: Final = ("light", "dark", "auto")
ORIGIN: Final = rf"[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9._-]+|\[({IPV6})\])(:({PORT}))?"
IRREGULAR: Final = (
    *("en-GB-oed", "i-ami", "i-bnn", "i-default", "i-enochian", "i-hak", "i-klingon", "i-lux", "i-mingo", "i-navajo", "i-pwn"),
    *("i-tao", "i-tay", "i-tsu", "sgn-BE-FR", "sgn-BE-NL", "sgn-CH-DE"),
)
"""Tags from before there was a grammar, and not of it (RFC 5646, 2.2.8)."""
PRIVATE: Final = "[xX](-[A-Za-z0-9]{1,8})+"
# BCP 47 (RFC 5646, 2.1): language, then script, region, variants, extensions, private use; or private use alone.
LOCALE: Final = (
    r"([A-Za-z]{2,3}(-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?"
    r"(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*(-[0-9A-WY-Za-wy-z](-[A-Za-z0-9]{2,8})+)*"
    rf"(-{PRIVATE})?|{PRIVATE}|{'|'.join(map(in_any_case, IRREGULAR))}"
)


class Origin(Matching):
    """An origin as a browser sends it: scheme, host, and a port that is not the usual one."""

    def __init__(self, **options: Any) -> None:
        error = "Must be an origin such as https://example.com, without a path."
        super().__init__(ORIGIN, error, high=300, example="https://example.com", **options)

    def read(self, value: Any) -> str:
        origin = super().read(value).lower()
        return origin.removesuffix(":443" if origin.startswith("https") else ":80")


class Settings(Body):
    component = "WidgetSettings"
    title = Text(0, 200, example="How do you like it?")
    placeholder = Text(0, 200, example="Tell us")
    submit_label = Text(0, 200, example="Send")
    thank_you = Text(0, 200, example="Thank you!")
    color = Matching(r"#[0-9a-fA-F]{6}", "Must be a color such as #1a2b3c.", example="#1a2b3c")
    position = fields.String(validate=validate.OneOf(("bottom-right", "bottom-left")))
    locale = Matching(LOCALE, "Must be a language tag such as pt.", high=100, example="pt")
    allowed_origins = Many(Origin(), None, 20, **says("The sites that may show it; empty or absent: any."))


class Change(Body):
    """Any part of a widget; at least one."""

    component = "WidgetChange"
    name = Text(1, 100, trim=True, example="Footer")
    type = fields.String(validate=validate.OneOf(TYPES))
    theme = fields.String(validate=validate.OneOf(THEMES))
    settings = fields.Nested(Settings)
    is_active = Flag()
    _something = at_least_one("name", "type", "theme", "settings", "is_active")


class Create(Body):
    component = "WidgetCreate"
    name = Text(1, 100, trim=True, example="Footer", required=True)
    type = fields.String(required=True, validate=validate.OneOf(TYPES))
    theme = fields.String(load_default="light", validate=validate.OneOf(THEMES))
    settings = fields.Nested(Settings, load_default=dict)
    is_active = Flag(load_default=True)


class List(Query):
    limit = Whole(1, 100, load_default=20, **says("Items of a page."))
    after = After(**says("The `next` of the page before."))


class Submit(Body):
    """What a widget sends; where it asks for a rating, the rating is the point and the message may be left out."""

    component = "WidgetSubmit"
    message = Text(0, MESSAGE, trim=True, example="Well done!", allow_none=True, load_default="")
    rating = Whole(
        *RATING,
        allow_none=True,
        load_default=None,
        **says(
            "1 to 5 for `rating`, 0 to 10 for `nps`, where it is required. It is kept as `metadata.rating`; if that is given "
            "too, it is the same."
        ),
    )
    metadata = Metadata(allow_none=True, load_default=None)


class Event(Body):
    component = "WidgetEvent"
    event = fields.String(required=True, validate=validate.OneOf(("view", "open")))


class Zone(Rule[ZoneInfo]):
    """A time zone by its IANA name."""

    def read(self, value: Any) -> ZoneInfo:
        if value not in time_zones():
            raise ValidationError("Must be the name of a time zone, such as Europe/Berlin.")
        return ZoneInfo(value)

    def _serialize(self, value: ZoneInfo | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return value.key if value else None

    def describe(self) -> dict[str, Any]:
        return {"type": "string", "format": "time-zone", "examples": ["Europe/Berlin"]}


@cache
def time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


class Stats(Query):
    from_ = Day(data_key="from", **says("The first day; without it, 30 days up to the last."))
    to = Day(**says("The last day; without it, today."))
    tz = Zone(load_default=ZoneInfo("UTC"), **says("Whose days: the IANA name of a time zone."))


def fit(values: Mapping[str, Any], widget_type: str) -> dict[str, Any] | None:
    """Return the metadata of a submission with its rating in it.

    Raises `ValidationError` if the submission does not fit its widget's type, or says two ratings.
    """
    errors: dict[str, Any] = {}
    low, high = RATINGS.get(widget_type, RATING)
    rating: int | None = values["rating"]
    metadata: dict[str, Any] | None = values["metadata"]
    if rating is None and widget_type in RATINGS:
        errors["rating"] = ["Missing data for required field."]
    elif rating is not None and not low <= rating <= high:
        errors["rating"] = [f"Must be from {low} to {high}."]
    if not values["message"] and widget_type not in RATINGS:
        errors["message"] = ["Must not be empty."]
    if rating is not None:
        if metadata and metadata.get("rating", rating) != rating:
            errors["metadata"] = {"rating": ["Must be the same as 'rating'."]}
        metadata = {**(metadata or {}), "rating": rating}
        if is_too_long(metadata):
            errors.setdefault("metadata", [TOO_LONG])
    if errors:
        raise ValidationError(errors)
    return metadata


CREATE: Final[Schema] = Create()
CHANGE: Final[Schema] = Change()
LIST: Final[Schema] = List()
SUBMIT: Final[Schema] = Submit()
EVENT: Final[Schema] = Event()
STATS: Final[Schema] = Stats()
