"""Widgets: their types, settings and answers, and how one is found."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from marshmallow import fields, validate

from fw.database.pool import DATABASE, Row
from fw.errors import NotFound
from fw.web.fields import IPV6, PORT, Many, Matching, Text, in_any_case, says
from fw.web.request import path_id
from fw.web.schemas import Body, Output

RATINGS: Final[Mapping[str, tuple[int, int]]] = {"rating": (1, 5), "nps": (0, 10)}
"""The types of widgets that ask for a rating, and its bounds."""
TYPES: Final = ("button", "inline", "popup", *RATINGS)
THEMES: Final = ("light", "dark", "auto")
ORIGIN: Final = rf"[Hh][Tt][Tt][Pp][Ss]?://([A-Za-z0-9._-]+|\[({IPV6})\])(:({PORT}))?"
IRREGULAR: Final = (
    *("en-GB-oed", "i-ami", "i-bnn", "i-default", "i-enochian", "i-hak", "i-klingon", "i-lux", "i-mingo", "i-navajo", "i-pwn"),
    *("i-tao", "i-tay", "i-tsu", "sgn-BE-FR", "sgn-BE-NL", "sgn-CH-DE"),
)
"""Language tags that are older than the grammar, and do not follow it (RFC 5646, 2.2.8)."""
PRIVATE: Final = "[xX](-[A-Za-z0-9]{1,8})+"
# BCP 47 (RFC 5646, 2.1): language, then script, region, variants, extensions, private use; or private use alone.
LOCALE: Final = (
    r"([A-Za-z]{2,3}(-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})(-[A-Za-z]{4})?(-([A-Za-z]{2}|[0-9]{3}))?"
    r"(-([A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*(-[0-9A-WY-Za-wy-z](-[A-Za-z0-9]{2,8})+)*"
    rf"(-{PRIVATE})?|{PRIVATE}|{'|'.join(map(in_any_case, IRREGULAR))}"
)


class Origin(Matching):
    """An origin as browsers send it: scheme, host, and a port unless it is the scheme's usual one."""

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
    allowed_origins = Many(Origin(), None, 20, **says("The sites that may show it; any, if it is empty or absent."))


class Widget(Output):
    component = "Widget"
    id = fields.UUID(required=True)
    user_id = fields.UUID(required=True)
    name = fields.String(required=True)
    type = fields.String(required=True, validate=validate.OneOf(TYPES))
    theme = fields.String(required=True, validate=validate.OneOf(THEMES))
    settings = fields.Nested(Settings, required=True)
    is_active = fields.Boolean(required=True)
    created_at = fields.DateTime(required=True)


async def find_widget(request: web.Request, statement: str, *owner: str) -> Row:
    """Read the widget whose id is in the path, by a named statement. Raises `NotFound`."""
    row = await request.app[DATABASE].row(statement, *owner, path_id(request))
    if row is None:
        raise NotFound
    return row
