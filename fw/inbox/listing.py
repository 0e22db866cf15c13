"""Feedback: sending it, and reading an inbox."""

import asyncio
import hashlib
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Final

from aiohttp import web

from fw import keys
from fw.accounts.authentication import own
from fw.accounts.fields import USERNAME
from fw.database.bus import INBOXES
from fw.docs import answers_tmp as answers
from fw.errors import IdempotencyMismatch, NotFound, TooManyRequests
from fw.ids import is_id
from fw.inbox import fields as schemas
from fw.inbox import search
from fw.inbox.feed import Reading, item
from fw.inbox.submissions import RECEIPT, admit, store
from fw.web import paging as pages
from fw.web.operation import Answer, operation
from fw.web.request import not_modified, read_object, read_query, reply

MARK_AT_ONCE: Final = 2000
"""Items that one statement marks: some 50 ms, for which the inbox takes nothing else in."""


@operation(
    "feedback_submit",
    RECEIPT,
    body=schemas.SUBMIT,
    headers=schemas.SUBMIT_HEADERS,
    refuses=(NotFound, IdempotencyMismatch, TooManyRequests),
    leads_to=("feedback_show", "feedback_mark", "feedback_delete"),
)
async def submit(request: web.Request) -> web.Response:
    """Take feedback for a user, from anyone."""
    username = request.match_info["ref"].lower()
    is_name = USERNAME.fullmatch(username) is not None
    sender = await admit(request, username if is_name else "")
    values = await read_object(request)
    if not is_name:
        raise NotFound
    return await store(request, values, sender, username=username)


@operation("feedback_list_inbox", Answer(200, answers.Inbox(), ("ETag",)), Answer(304, None, ("ETag",)), query=schemas.LIST)
async def list_inbox(request: web.Request) -> web.Response:
    """List the inbox, filtered, a page at a time."""
    wanted = read_query(request)
    user_id, database = request[keys.CALLER].user_id, request.app[keys.DATABASE]
    if request.if_none_match:
        etag = tag(user_id, own(await database.row("feedback.position", user_id))["cursor"], wanted)
        if not_modified(request, etag):
            return web.Response(status=304, headers={"ETag": f'"{etag}"'})
    async with request.app[keys.SEARCHES].turn(user_id) if wanted.get("q") else nullcontext():
        rows = await database.rows(f"feedback.{wanted['order']}", user_id, *filters(wanted), wanted["limit"] + 1)
    inbox = own(rows[0] if rows else None)
    items = [item(row) for row in rows if row["id"] is not None]
    page = {
        "items": items[: wanted["limit"]],
        "next": pages.encode(items[wanted["limit"] - 1]["id"]) if len(items) > wanted["limit"] else None,
        "unread_count": inbox["unread_count"],
        "total_count": inbox["total_count"],
        "cursor": inbox["inbox_cursor"],
    }
    return reply(page, headers={"ETag": f'"{tag(user_id, inbox["inbox_cursor"], wanted)}"'})


def filters(wanted: Mapping[str, Any]) -> tuple[str, str, bool | None, str | None, str | None]:
    """Return what a page is chosen by: the ids it lies between, is_read, widget_id, and the pattern of a search."""
    low, high = schemas.span(wanted.get("from_"), wanted.get("to"))
    if "after" in wanted:
        after = wanted["after"]
        low, high = (max(low, after), high) if wanted["order"] == "oldest" else (low, min(high, after))
    text = wanted.get("q")
    return low, high, wanted.get("is_read"), wanted.get("widget_id"), search.pattern(text) if text else None


def tag(user_id: str, cursor: int, wanted: Mapping[str, Any]) -> str:
    """Name a page: it is the same as long as neither the inbox nor the question changes."""
    question = f"{user_id} {cursor} {sorted(wanted.items())}"
    return hashlib.blake2b(question.encode(), digest_size=12).hexdigest()


@operation("feedback_show", Answer(200, answers.Feedback()), refuses=(NotFound,))
async def show(request: web.Request) -> web.Response:
    """Show one item."""
    return reply(await find(request, request.match_info["ref"]))


async def find(request: web.Request, feedback_id: str) -> Mapping[str, Any]:
    if not is_id(feedback_id):
        raise NotFound
    row = await request.app[keys.DATABASE].row("feedback.one", request[keys.CALLER].user_id, feedback_id)
    if row is None:
        raise NotFound
    return row


@operation("feedback_mark", Answer(200, answers.Feedback()), body=schemas.MARK, is_body_optional=True, refuses=(NotFound,))
async def mark(request: web.Request) -> web.Response:
    """Mark one item read or unread."""
    values = await read_object(request)
    feedback_id = request.match_info["id"]
    if not is_id(feedback_id):
        raise NotFound
    database, user_id = request.app[keys.DATABASE], request[keys.CALLER].user_id
    changed = await database.change("feedback.mark_one", user_id, feedback_id, values["is_read"])
    await request.app[keys.BUS].publish(INBOXES, [user_id])
    return reply(changed or await find(request, feedback_id))


@operation("feedback_mark_many", Answer(200, answers.Changed()), body=schemas.MARK_MANY)
async def mark_many(request: web.Request) -> web.Response:
    """Mark items as read: by their ids, or all that arrived up to a cursor."""
    values = await read_object(request)
    database, user_id = request.app[keys.DATABASE], request[keys.CALLER].user_id
    if "ids" in values:
        row = own(await database.change("feedback.mark_ids", user_id, values["ids"]))
        await request.app[keys.BUS].publish(INBOXES, [user_id])
        return reply({"changed": row["changed"]})
    changed = done = own(await database.change("feedback.mark_up_to", user_id, values["up_to"], MARK_AT_ONCE))["changed"]
    while done == MARK_AT_ONCE:
        done = own(await database.change("feedback.mark_up_to", user_id, values["up_to"], MARK_AT_ONCE))["changed"]
        changed += done
    await request.app[keys.BUS].publish(INBOXES, [user_id])
    return reply({"changed": changed})


@operation("feedback_delete", Answer(204), refuses=(NotFound,))
async def delete(request: web.Request) -> web.Response:
    """Delete an item: its text at once, its place in the log after seven days."""
    feedback_id = request.match_info["ref"]
    if not is_id(feedback_id):
        raise NotFound
    user_id = request[keys.CALLER].user_id
    row = await request.app[keys.DATABASE].change("feedback.delete", user_id, feedback_id)
    if row is None or not row["deleted"]:
        raise NotFound
    await request.app[keys.BUS].publish(INBOXES, [user_id])
    return web.Response(status=204)


@operation("feedback_changes", Answer(200, answers.Changes()), query=schemas.SINCE, refuses=(TooManyRequests,))
async def changes(request: web.Request) -> web.Response:
    """Tell what changed after a cursor; if nothing has, wait for it."""
    wanted = read_query(request)
    user_id, readers = request[keys.CALLER].user_id, request.app[keys.READERS]
    found = await request.app[keys.FEED].read(user_id, wanted["since"])
    if wanted["wait"] and not has_news(found):
        await readers.take(user_id)
        try:
            async with request.app[keys.TURNS].pause(user_id):
                found = await wait_for_changes(request, wanted["since"], wanted["wait"])
        finally:
            readers.give_back(user_id)
    return reply({"events": found.events(), "cursor": found.cursor, "more": found.more})


def has_news(reading: Reading) -> bool:
    return bool(reading.rows) or reading.is_lost


async def wait_for_changes(request: web.Request, since: int, seconds: float) -> Reading:
    user_id, hub = request[keys.CALLER].user_id, request.app[keys.HUB]
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    with hub.watch(user_id) as moved:
        while True:
            moved.clear()
            found = await request.app[keys.FEED].read(user_id, since)
            if has_news(found) or clock() >= end or hub.is_closed:
                return found
            try:
                async with asyncio.timeout_at(end):
                    await moved.wait()
            except TimeoutError:
                return found
            # What woke us may be that the session has ended.
            await request.app[keys.TOKENS].confirm(request[keys.CALLER])
