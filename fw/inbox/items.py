"""One item of an inbox: show, mark, delete."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from fw.accounts.tokens import CALLER
from fw.database.bus import BUS, INBOXES
from fw.database.pool import DATABASE
from fw.errors import NotFound
from fw.inbox.feedback import Feedback
from fw.web.fields import Flag
from fw.web.operation import Answer, operation
from fw.web.request import path_id, read_object
from fw.web.response import reply
from fw.web.schemas import Body


class Mark(Body):
    component = "FeedbackMark"
    is_read = Flag(load_default=True)


@operation("feedback_show", Answer(200, Feedback()), refuses=(NotFound,))
async def show(request: web.Request) -> web.Response:
    """Show one item."""
    return reply(await find_item(request, path_id(request, "ref")))


async def find_item(request: web.Request, feedback_id: str) -> Mapping[str, Any]:
    """Return an item of the caller's inbox. Raises `NotFound`."""
    row = await request.app[DATABASE].row("feedback.one", request[CALLER].user_id, feedback_id)
    if row is None:
        raise NotFound
    return row


@operation("feedback_mark", Answer(200, Feedback()), body=Mark(), is_body_optional=True, refuses=(NotFound,))
async def mark(request: web.Request) -> web.Response:
    """Mark one item read or unread."""
    values = await read_object(request)
    feedback_id = path_id(request)
    database, user_id = request.app[DATABASE], request[CALLER].user_id
    changed = await database.change("feedback.mark_one", user_id, feedback_id, values["is_read"])
    request.app[BUS].publish(INBOXES, [user_id])
    return reply(changed or await find_item(request, feedback_id))


@operation("feedback_delete", Answer(204), refuses=(NotFound,))
async def delete(request: web.Request) -> web.Response:
    """Delete an item: its text at once, its number in the log after seven days."""
    feedback_id, user_id = path_id(request, "ref"), request[CALLER].user_id
    row = await request.app[DATABASE].change("feedback.delete", user_id, feedback_id)
    if row is None or not row["deleted"]:
        raise NotFound
    request.app[BUS].publish(INBOXES, [user_id])
    return web.Response(status=204)
