"""What the API answers. Nothing is validated by these in service; the tests hold every answer to them."""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from marshmallow import Schema, fields, validate

from fw.widgets import widget as widgets


class Answer(Schema):
    """An object of an answer: all of its fields are there, unless it says otherwise. Others may be added one day."""

    component: ClassVar[str]
    """What clients call it by: it stays, wherever the code goes."""


class Count(fields.Integer):
    """A number of things."""

    def __init__(self) -> None:
        super().__init__(required=True, validate=validate.Range(0))


class Share(fields.Float):
    """A part of a whole, or an average; null where there is nothing to divide by."""

    def __init__(self) -> None:
        super().__init__(required=True, allow_none=True)


class OneOf(fields.Field[Any]):
    """One of several objects, told apart by the constant of one of their fields."""

    def __init__(self, key: str, choices: Sequence[type[Schema]], **options: Any) -> None:
        super().__init__(**options)
        self.key, self.choices = key, choices


class PublicUser(Answer):
    component = "PublicUser"
    username = fields.String(required=True)
    profile_image = fields.String(required=True, allow_none=True)
    is_premium = fields.Boolean(required=True)
    created_at = fields.DateTime(required=True)


class User(PublicUser):
    component = "User"
    id = fields.UUID(required=True)
    email = fields.String(required=True)
    last_login = fields.DateTime(required=True, allow_none=True)
    email_verified = fields.Boolean(required=True)


class Me(User):
    component = "Me"
    unread_count = Count()


class Session(Answer):
    component = "Session"
    user = fields.Nested(User, required=True)
    access_token = fields.String(required=True)
    token_type = fields.String(required=True, validate=validate.Equal("bearer"))
    expires_in = fields.Integer(required=True, metadata={"description": "Seconds that the token lives."})


class Receipt(Answer):
    component = "Receipt"
    id = fields.UUID(required=True)
    created_at = fields.DateTime(required=True)


class Feedback(Answer):
    component = "Feedback"
    id = fields.UUID(required=True)
    user_id = fields.UUID(required=True)
    message = fields.String(required=True)
    created_at = fields.DateTime(required=True)
    is_read = fields.Boolean(required=True)
    ip_address = fields.String(required=True, allow_none=True)
    metadata = fields.Dict(required=True, allow_none=True)
    widget_id = fields.UUID(required=True, allow_none=True)
    cursor = Count()


class Inbox(Answer):
    component = "Inbox"
    items = fields.List(fields.Nested(Feedback), required=True)
    next = fields.String(required=True, allow_none=True)
    unread_count = Count()
    total_count = Count()
    cursor = Count()


class Changed(Answer):
    component = "Changed"
    changed = Count()


class Event(Answer):
    component = "Event"
    cursor = Count()


class HelloEvent(Event):
    component = "HelloEvent"
    event = fields.String(required=True, validate=validate.Equal("hello"))
    unread_count = Count()


class CreatedEvent(Event):
    component = "CreatedEvent"
    event = fields.String(required=True, validate=validate.Equal("created"))
    feedback = fields.Nested(Feedback, required=True)


class UpdatedEvent(Event):
    component = "UpdatedEvent"
    event = fields.String(required=True, validate=validate.Equal("updated"))
    feedback = fields.Nested(Feedback, required=True)


class DeletedEvent(Event):
    component = "DeletedEvent"
    event = fields.String(required=True, validate=validate.Equal("deleted"))
    id = fields.UUID(required=True)


class ResyncEvent(Event):
    component = "ResyncEvent"
    event = fields.String(required=True, validate=validate.Equal("resync"))


CHANGES: Final = (CreatedEvent, UpdatedEvent, DeletedEvent, ResyncEvent)
LIVE_EVENTS: Final = (HelloEvent, *CHANGES)


class Changes(Answer):
    component = "Changes"
    events = fields.List(OneOf("event", CHANGES), required=True)
    cursor = Count()
    more = fields.Boolean(required=True)


class WidgetConfig(Answer):
    component = "WidgetConfig"
    id = fields.UUID(required=True)
    username = fields.String(required=True)
    type = fields.String(required=True, validate=validate.OneOf(widgets.TYPES))
    theme = fields.String(required=True, validate=validate.OneOf(widgets.THEMES))
    settings = fields.Nested(widgets.Settings, required=True)


class Widget(Answer):
    component = "Widget"
    id = fields.UUID(required=True)
    user_id = fields.UUID(required=True)
    name = fields.String(required=True)
    type = fields.String(required=True, validate=validate.OneOf(widgets.TYPES))
    theme = fields.String(required=True, validate=validate.OneOf(widgets.THEMES))
    settings = fields.Nested(widgets.Settings, required=True)
    is_active = fields.Boolean(required=True)
    created_at = fields.DateTime(required=True)


class Widgets(Answer):
    component = "Widgets"
    items = fields.List(fields.Nested(Widget), required=True)
    next = fields.String(required=True, allow_none=True)


class DayStats(Answer):
    component = "DayStats"
    date = fields.Date(required=True)
    views = Count()
    opens = Count()
    submissions = Count()


class StatsTotals(Answer):
    component = "StatsTotals"
    views = Count()
    opens = Count()
    submissions = Count()
    open_rate = Share()
    submission_rate = Share()
    average_rating = Share()
    nps = Share()


class Stats(Answer):
    component = "Stats"
    widget_id = fields.UUID(required=True)
    from_ = fields.Date(required=True, data_key="from")
    to = fields.Date(required=True)
    tz = fields.String(required=True)
    totals = fields.Nested(StatsTotals, required=True)
    ratings = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    daily = fields.List(fields.Nested(DayStats), required=True)


class Health(Answer):
    component = "Health"
    status = fields.String(required=True, validate=validate.Equal("ok"))
    version = fields.String(required=True)


class Readiness(Answer):
    component = "Readiness"
    status = fields.String(required=True, validate=validate.Equal("ready"))
    checks = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class Problem(Answer):
    """What went wrong (RFC 9457)."""

    component = "Problem"
    type = fields.String(required=True, metadata={"format": "uri-reference"})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    request_id = fields.String(required=True)
    errors = fields.Dict(metadata={"description": "With 422: fields, nested as the body is, and what is wrong with each."})
