"""Changing many items at once."""

from typing import Final

from aiohttp import web

from fw.accounts.tokens import CALLER
from fw.accounts.user import require_account
from fw.database.bus import BUS, INBOXES
from fw.database.pool import DATABASE, Database
from fw.inbox.searches import SEARCHES, Searches
from fw.web.answers import Count
from fw.web.fields import BIGGEST, Flag, Id, Many, Whole, Yes, says
from fw.web.operation import Answer, operation
from fw.web.request import read_object
from fw.web.response import reply
from fw.web.schemas import Body, Output, exactly_one

MARK_AT_ONCE: Final = 2000
"""Items that one statement marks: it takes some 50 ms, during which no feedback can be added to the inbox."""


class Changed(Output):
    component = "Changed"
    changed = Count()


class MarkMany(Body):
    component = "FeedbackMarkMany"
    ids = Many(Id(), 1, 500, **says("These items."))
    up_to = Whole(0, BIGGEST, **says("All items that arrived up to this cursor."))
    _one_way = exactly_one("ids", "up_to", example={"up_to": 42})


@operation("feedback_mark_many", Answer(200, Changed()), body=MarkMany())
async def mark_many(request: web.Request) -> web.Response:
    """Mark items as read: by their ids, or all that arrived up to a cursor."""
    values = await read_object(request)
    database, user_id = request.app[DATABASE], request[CALLER].user_id
    searches = request.app[SEARCHES]
    if "ids" in values:
        async with searches.place(user_id):
            row = await database.change("feedback.mark_ids", user_id, values["ids"], True)
        changed = require_account(row)["changed"]
    else:
        changed = await mark_up_to(database, searches, user_id, values["up_to"])
    request.app[BUS].publish(INBOXES, [user_id])
    return reply({"changed": changed})


class BulkChange(Body):
    """What is to be done with many items."""

    component = "FeedbackBulkChange"
    ids = Many(Id(), 1, 500, required=True, **says("These items."))
    is_read = Flag(**says("Marks them as read or unread."))
    delete = Yes(**says("Deletes them."))
    _one_way = exactly_one("is_read", "delete", example={"ids": ["0193572f-6c00-7000-8000-5f3a9c1b2d4e"], "is_read": True})


@operation("feedback_change_many", Answer(200, Changed()), body=BulkChange())
async def change_many(request: web.Request) -> web.Response:
    """Mark many items as read or unread, or delete them. `changed` counts those that were not so already."""
    values = await read_object(request)
    database, user_id = request.app[DATABASE], request[CALLER].user_id
    async with request.app[SEARCHES].place(user_id):
        if "is_read" in values:
            row = await database.change("feedback.mark_ids", user_id, values["ids"], values["is_read"])
        else:
            row = await database.change("feedback.delete_ids", user_id, values["ids"])
    request.app[BUS].publish(INBOXES, [user_id])
    return reply({"changed": require_account(row)["changed"]})


async def mark_up_to(database: Database, searches: Searches, user_id: str, cursor: int) -> int:
    """Mark the items that arrived up to a cursor, in steps between which others have their turn. Returns how many changed."""
    changed, done = 0, MARK_AT_ONCE
    while done == MARK_AT_ONCE:
        async with searches.place(user_id):
            row = await database.change("feedback.mark_up_to", user_id, cursor, MARK_AT_ONCE)
        done = require_account(row)["changed"]
        changed += done
    return changed
