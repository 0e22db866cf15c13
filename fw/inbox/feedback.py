"""Feedback, as its owner sees it."""

from marshmallow import fields

from fw.web.answers import Count
from fw.web.schemas import Output


class Feedback(Output):
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
