"""The events that tell clients what happens to an inbox."""

from typing import Any, Final

from marshmallow import fields, validate

from fw.database.pool import Row
from fw.inbox.feedback import Feedback
from fw.web.answers import Count
from fw.web.schemas import Output

INBOX_COLUMNS: Final = frozenset(
    "inbox_id inbox_cursor unread_count total_count horizon created_cursor deleted_at has_more stopped_at".split()
)


class Event(Output):
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


def event(row: Row, since: int) -> dict[str, Any]:
    """Return the event of one changed item for a reader at the cursor `since`."""
    if row["deleted_at"] is not None:
        return {"event": "deleted", "cursor": row["cursor"], "id": row["id"]}
    kind = "created" if row["created_cursor"] > since else "updated"
    return {"event": kind, "cursor": row["cursor"], "feedback": item(row)}


def item(row: Row) -> dict[str, Any]:
    """Return the feedback in a row, without the row's columns about the inbox."""
    return {name: value for name, value in row.items() if name not in INBOX_COLUMNS}
