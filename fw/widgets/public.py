"""Widgets: the calls of the pages that show them."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from marshmallow import ValidationError, fields, validate

from fw.errors import IdempotencyMismatch, NotFound, OriginNotAllowed, TooManyRequests
from fw.inbox.intake import INTAKE
from fw.inbox.metadata import RATING, TOO_LONG, Metadata, is_too_long
from fw.inbox.sender import (
    MESSAGE,
    RECEIPT,
    SubmitHeaders,
    admit,
    admit_to,
    compose,
    read_submission,
    receipt,
    sender_of,
)
from fw.web.address import caller_bucket
from fw.web.fields import Text, Whole, says
from fw.web.limits import LIMITS
from fw.web.operation import JSON, Answer, operation
from fw.web.request import invalid, read_object
from fw.web.response import not_modified, reply
from fw.web.schemas import Body, Output
from fw.widgets.counters import COUNTERS
from fw.widgets.known_inboxes import KNOWN_INBOXES
from fw.widgets.widget import RATINGS, THEMES, TYPES, Settings, find_widget

EVENT: Final = "widget-event"


class WidgetConfig(Output):
    component = "WidgetConfig"
    id = fields.UUID(required=True)
    username = fields.String(required=True)
    type = fields.String(required=True, validate=validate.OneOf(TYPES))
    theme = fields.String(required=True, validate=validate.OneOf(THEMES))
    settings = fields.Nested(Settings, required=True)


class Submit(Body):
    """What a widget sends; if it asks for a rating, the message may be left out."""

    component = "WidgetSubmit"
    message = Text(0, MESSAGE, trim=True, example="Well done!", allow_none=True, load_default="")
    rating = Whole(
        *RATING,
        allow_none=True,
        load_default=None,
        **says(
            "1 to 5 for `rating`, 0 to 10 for `nps`; both require it. It is kept as `metadata.rating`; if that is given too, it"
            " has to be the same."
        ),
    )
    metadata = Metadata(allow_none=True, load_default=None)


class Event(Body):
    component = "WidgetEvent"
    event = fields.String(required=True, validate=validate.OneOf(("view", "open")))


@operation("widgets_config", Answer(200, WidgetConfig(), ("ETag",)), Answer(304, None, ("ETag",)), refuses=(NotFound,))
async def config(request: web.Request) -> web.Response:
    """Show anyone what a page needs to show the widget; cacheable for a minute."""
    widget = await find_widget(request, "widgets.public")
    shown = reply({name: widget[name] for name in ("id", "username", "type", "theme", "settings")})
    etag = hashlib.blake2b(bytes(shown.body), digest_size=12).hexdigest()  # type: ignore[arg-type]
    headers = {"ETag": f'"{etag}"', "Cache-Control": "public, max-age=60"}
    if not_modified(request, etag):
        return web.Response(status=304, headers=headers)
    shown.headers.update(headers)
    return shown


@operation(
    "widgets_submit",
    RECEIPT,
    body=Submit(),
    headers=SubmitHeaders(),
    refuses=(NotFound, OriginNotAllowed, IdempotencyMismatch, TooManyRequests),
)
async def submit(request: web.Request) -> web.Response:
    """Take feedback through a widget, from pages that may show it."""
    limits, inboxes, widget_id = request.app[LIMITS], request.app[KNOWN_INBOXES], request.match_info["id"]
    sender, inbox = sender_of(request), inboxes.get(widget_id)
    standing = await admit(limits, sender, inbox)
    values = await read_submission(request)
    widget = await find_widget(request, "widgets.public")
    if inbox is None:
        inbox = inboxes.learn(widget_id, widget["username"])
        standing = await admit_to(limits, sender, inbox) or standing
    origin, allowed = request.headers.get("Origin"), widget["allowed_origins"]
    if allowed and origin is not None and origin.lower() not in allowed:
        raise OriginNotAllowed
    values["message"] = values["message"] or ""
    try:
        values["metadata"] = metadata_with_rating(values, widget["type"])
    except ValidationError as error:
        raise invalid(error) from None
    submission = compose(values, sender, user_id=widget["user_id"], widget_id=widget["id"])
    return receipt(await request.app[INTAKE].submit(submission), standing)


@operation(
    "widgets_count_event",
    Answer(204),
    body={JSON: Event(), "text/plain": Event()},
    refuses=(NotFound, TooManyRequests),
)
async def count_event(request: web.Request) -> web.Response:
    """Count a view or an opening of a widget; pages may send it as text/plain (sendBeacon)."""
    await request.app[LIMITS].take((EVENT, caller_bucket(request)))
    values = await read_object(request)
    widget = await find_widget(request, "widgets.public")
    request.app[COUNTERS].count(widget["id"], values["event"])
    return web.Response(status=204)


def metadata_with_rating(values: Mapping[str, Any], widget_type: str) -> dict[str, Any] | None:
    """Return the metadata of a submission, with its rating added.

    Raises `ValidationError` if the submission does not fit its widget's type, or has two different ratings.
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
