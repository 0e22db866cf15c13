"""The account, as its owner and others see it."""

from marshmallow import fields, validate

from fw.database.pool import Row
from fw.errors import Unauthorized
from fw.web.answers import Count
from fw.web.schemas import Output


class PublicUser(Output):
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


class Session(Output):
    component = "Session"
    user = fields.Nested(User, required=True)
    access_token = fields.String(metadata={"description": "Not with a session by cookie."})
    token_type = fields.String(validate=validate.Equal("bearer"), metadata={"description": "Comes with `access_token`."})
    expires_in = fields.Integer(required=True, metadata={"description": "Seconds that the session lasts."})


def require_account(row: Row | None) -> Row:
    """Return the row of the caller's account. Raises `Unauthorized` if there is none: it has just been deleted."""
    if row is None:
        raise Unauthorized
    return row
