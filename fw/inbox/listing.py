"""Listing an inbox."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from aiohttp import hdrs, web
from marshmallow import fields, validate

from fw import ids
from fw.accounts.tokens import CALLER
from fw.accounts.user import require_account
from fw.database.pool import DATABASE, Row
from fw.inbox import search
from fw.inbox.events import item
from fw.inbox.feedback import Feedback
from fw.inbox.searches import SEARCHES
from fw.web import paging
from fw.web.answers import Count
from fw.web.fields import Id, Moment, QueryFlag, Text, says
from fw.web.lists import Paged
from fw.web.operation import Answer, operation
from fw.web.request import read_query
from fw.web.response import not_modified, reply
from fw.web.schemas import Output

PAGE_BYTES: Final = 1024 * 1024
"""The longest page, so that slow readers hold little memory. 100 items fit, unless most letters take three bytes and more."""
PLAIN_BYTES: Final = 6 * 1024
"""More than an item has beside its message; its metadata has at most 4 KiB as it is sent."""
REST_BYTES: Final = 512
"""More than a page has beside its items."""


class List(Paged):
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
    """List the inbox, filtered, a page at a time. A page of a search may be short or empty, with a `next` that goes on.

    A page that would have more than 1 MiB is short, too.
    """
    wanted = read_query(request)
    user_id, database = request[CALLER].user_id, request.app[DATABASE]
    if hdrs.IF_NONE_MATCH in request.headers:
        etag = tag(user_id, require_account(await database.row("feedback.position", user_id))["cursor"], wanted)
        if not_modified(request, etag):
            return web.Response(status=304, headers={"ETag": f'"{etag}"'})
    rows = await read_page(request, wanted)
    inbox = require_account(rows[0] if rows else None)
    items = [item(row) for row in rows if row["id"] is not None]
    # A search that has taken its time goes on from where it has come to, whatever it has found.
    last = items[wanted["limit"] - 1]["id"] if len(items) > wanted["limit"] else rows[-1].get("stopped_at")
    page = {
        "items": items[: wanted["limit"]],
        "next": last and paging.next_after(last),
        "unread_count": inbox["unread_count"],
        "total_count": inbox["total_count"],
        "cursor": inbox["inbox_cursor"],
    }
    return reply_page(page, {"ETag": f'"{tag(user_id, inbox["inbox_cursor"], wanted)}"'})


def reply_page(page: dict[str, Any], headers: Mapping[str, str]) -> web.Response:
    """Return the response of a page; one of more than `PAGE_BYTES` ends early."""
    # In JSON a character has at most six bytes.
    characters = sum(len(each["message"]) for each in page["items"])
    if PLAIN_BYTES * len(page["items"]) + 6 * characters <= PAGE_BYTES:
        return reply(page, headers=headers)
    # One by one, so that no more items are encoded than fit.
    room = PAGE_BYTES - REST_BYTES
    encoded: list[bytes] = []
    for each in page["items"]:
        encoded.append(orjson.dumps(each))
        room -= len(encoded[-1]) + 1
        if room < 0 and len(encoded) > 1:
            encoded.pop()
            break
    fits = {**page, "items": [orjson.Fragment(each) for each in encoded]}
    if len(encoded) < len(page["items"]):
        fits["next"] = paging.next_after(page["items"][len(encoded) - 1]["id"])
    return reply(fits, headers=headers)


async def read_page(request: web.Request, wanted: Mapping[str, Any]) -> Sequence[Row]:
    """Read one item more than a page has, each with the state of the inbox."""
    user_id, (low, high), most = request[CALLER].user_id, bounds(wanted), wanted["limit"] + 1
    order, widget_id, database = wanted["order"], wanted.get("widget_id"), request.app[DATABASE]
    if wanted.get("q") or "is_read" in wanted:
        # Both may have to look at every item of the inbox.
        pattern = search.pattern(wanted["q"]) if wanted.get("q") else None
        return await request.app[SEARCHES].search(
            user_id, low, high, wanted.get("is_read"), widget_id, pattern, most, order == "newest", has_text=pattern is not None
        )
    if widget_id:
        return await database.rows(f"feedback.{order}_of_widget", user_id, low, high, most, widget_id)
    return await database.rows(f"feedback.{order}", user_id, low, high, most)


def bounds(wanted: Mapping[str, Any]) -> tuple[str, str]:
    """Return the ids between which the items of a page lie."""
    low, high = id_range(wanted.get("from_"), wanted.get("to"))
    if "after" in wanted:
        after = wanted["after"]
        low, high = (max(low, after), high) if wanted["order"] == "oldest" else (low, min(high, after))
    return low, high


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
        return ids.millisecond_of(bound) + timedelta(milliseconds=1)
    return start_of_day(bound) + timedelta(days=1)


def start_of_day(day: Any) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=ids.EPOCH.tzinfo)
