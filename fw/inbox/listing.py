"""Listing an inbox."""

import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

from aiohttp import hdrs, web
from marshmallow import fields, validate

from fw import ids
from fw.accounts.tokens import CALLER
from fw.accounts.user import require_account
from fw.database.pool import DATABASE
from fw.inbox import search
from fw.inbox.events import item
from fw.inbox.feedback import Feedback
from fw.web import paging
from fw.web.answers import Count
from fw.web.fields import After, Id, Moment, QueryFlag, Text, Whole, says
from fw.web.operation import Answer, operation
from fw.web.request import read_query
from fw.web.response import not_modified, reply
from fw.web.schemas import Output, Query
from fw.web.turns import SEARCHES


class List(Query):
    limit = Whole(1, 100, load_default=20, **says("Items of a page."))
    after = After(**says("The `next` of the page before."))
    is_read = QueryFlag(**says("Only items that are read, or only those that are not."))
    q = Text(0, 200, **says("Only items with this text in the message, in any case."))
    widget_id = Id(**says("Only items that came through this widget."))
    from_ = Moment(data_key="from", **says("Only items that came at this moment or day (in UTC), or later."))
    to = Moment(**says("Only items that came at this moment or day (in UTC), or earlier."))
    order = fields.String(
        load_default="newest", validate=validate.OneOf(("newest", "oldest")), **says("Which items come first.")
    )


class Inbox(Output):
    component = "Inbox"
    items = fields.List(fields.Nested(Feedback), required=True)
    next = fields.String(required=True, allow_none=True)
    unread_count = Count()
    total_count = Count()
    cursor = Count()


@operation("feedback_list_inbox", Answer(200, Inbox(), ("ETag",)), Answer(304, None, ("ETag",)), query=List())
async def list_inbox(request: web.Request) -> web.Response:
    """List the inbox, filtered, a page at a time."""
    wanted = read_query(request)
    user_id, database = request[CALLER].user_id, request.app[DATABASE]
    if hdrs.IF_NONE_MATCH in request.headers:
        etag = tag(user_id, require_account(await database.row("feedback.position", user_id))["cursor"], wanted)
        if not_modified(request, etag):
            return web.Response(status=304, headers={"ETag": f'"{etag}"'})
    # Both may have to look at every item of the inbox.
    is_search = wanted.get("q") or "is_read" in wanted
    async with request.app[SEARCHES].turn(user_id) if is_search else nullcontext():
        rows = await database.rows(f"feedback.{wanted['order']}", user_id, *filters(wanted), wanted["limit"] + 1)
    inbox = require_account(rows[0] if rows else None)
    items = [item(row) for row in rows if row["id"] is not None]
    page = {
        "items": items[: wanted["limit"]],
        "next": paging.next_after(items[wanted["limit"] - 1]["id"]) if len(items) > wanted["limit"] else None,
        "unread_count": inbox["unread_count"],
        "total_count": inbox["total_count"],
        "cursor": inbox["inbox_cursor"],
    }
    return reply(page, headers={"ETag": f'"{tag(user_id, inbox["inbox_cursor"], wanted)}"'})


def filters(wanted: Mapping[str, Any]) -> tuple[str, str, bool | None, str | None, str | None]:
    """Return the arguments of the statement: the ids that bound the page, is_read, widget_id, and the pattern of a search."""
    low, high = id_range(wanted.get("from_"), wanted.get("to"))
    if "after" in wanted:
        after = wanted["after"]
        low, high = (max(low, after), high) if wanted["order"] == "oldest" else (low, min(high, after))
    text = wanted.get("q")
    return low, high, wanted.get("is_read"), wanted.get("widget_id"), search.pattern(text) if text else None


def tag(user_id: str, cursor: int, wanted: Mapping[str, Any]) -> str:
    """Return the ETag of a page: the same as long as neither the inbox nor the query changes."""
    question = f"{user_id} {cursor} {sorted(wanted.items())}"
    return hashlib.blake2b(question.encode(), digest_size=12).hexdigest()


def id_range(low: Any, high: Any) -> tuple[str, str]:
    """Return the ids between which all items made from `low` to `high` lie; either is a moment, a day, or None (no bound)."""
    first = ids.LOWEST if low is None else ids.just_before(first_moment(low))
    try:
        last = ids.HIGHEST if high is None else ids.just_before(moment_after(high))
    except OverflowError:
        # There is no date after 9999-12-31.
        last = ids.HIGHEST
    return first, last


def first_moment(bound: Any) -> datetime:
    return bound if isinstance(bound, datetime) else start_of_day(bound)


def moment_after(bound: Any) -> datetime:
    """Return the first millisecond after a moment, or after a day."""
    if isinstance(bound, datetime):
        return bound.replace(microsecond=bound.microsecond // 1000 * 1000) + timedelta(milliseconds=1)
    return start_of_day(bound) + timedelta(days=1)


def start_of_day(day: Any) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ids.EPOCH.tzinfo)
