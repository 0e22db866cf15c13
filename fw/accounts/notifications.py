"""What an owner is told by mail when feedback arrives."""

from typing import Any, Final

from aiohttp import web
from marshmallow import fields, validate

from fw.accounts.tokens import CALLER
from fw.accounts.user import require_account
from fw.database.pool import DATABASE
from fw.web.fields import Zone, says
from fw.web.operation import Answer, operation
from fw.web.request import read_object
from fw.web.response import reply
from fw.web.schemas import Body, Output, at_least_one

MAIL: Final = ("off", "each", "hourly", "daily")


def mail_field(**options: Any) -> fields.String:
    return fields.String(
        validate=validate.OneOf(MAIL),
        **says("A mail for each feedback, one an hour or one a day (at 8 in the morning), or none."),
        **options,
    )


class NotificationsChange(Body):
    component = "UserNotificationsChange"
    mail = mail_field()
    timezone = Zone(**says("The time zone of hours and days, by its IANA name."))
    _something = at_least_one("mail", "timezone")


class Notifications(Output):
    component = "Notifications"
    mail = mail_field(required=True)
    timezone = fields.String(required=True)


@operation("users_notifications", Answer(200, Notifications()))
async def show(request: web.Request) -> web.Response:
    """Show what the owner is told by mail when feedback arrives."""
    return reply(require_account(await request.app[DATABASE].row("notifications.show", request[CALLER].user_id)))


@operation("users_set_notifications", Answer(200, Notifications()), body=NotificationsChange())
async def change(request: web.Request) -> web.Response:
    """Set what the owner is told by mail when feedback arrives. Such mails go to verified addresses alone."""
    values = await read_object(request)
    zone = values.get("timezone")
    found = await request.app[DATABASE].change(
        "notifications.set", request[CALLER].user_id, values.get("mail"), zone.key if zone else None
    )
    return reply(require_account(found))
