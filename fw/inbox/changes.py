"""What changed in an inbox after a cursor, as a long poll."""

import asyncio
from contextlib import suppress
from typing import Final

from aiohttp import web
from marshmallow import fields

from fw.accounts.tokens import CALLER, TOKENS
from fw.errors import TooManyRequests
from fw.inbox.events import CHANGES
from fw.inbox.feed import FEED, Reading
from fw.inbox.hub import HUB
from fw.inbox.readers import READERS
from fw.web.answers import Count, OneOf
from fw.web.fields import BIGGEST, Number, Whole, says
from fw.web.operation import Answer, operation
from fw.web.request import read_query
from fw.web.response import reply
from fw.web.schemas import Output, Query
from fw.web.turns import TURNS


class Changes(Output):
    component = "Changes"
    events = fields.List(OneOf("event", CHANGES), required=True)
    cursor = Count()
    more = fields.Boolean(required=True)


LOOK_SECONDS: Final = 2.0
"""How often it is looked whether a client that waits is still there."""


class Since(Query):
    since = Whole(0, BIGGEST, load_default=0, **says("The cursor that you have."))
    wait = Number(0, 30, load_default=0.0, **says("Seconds to wait for a change if there is none."))


@operation("feedback_changes", Answer(200, Changes()), query=Since(), refuses=(TooManyRequests,))
async def changes(request: web.Request) -> web.Response:
    """List the changes after a cursor; if there are none, wait for one."""
    wanted = read_query(request)
    user_id, readers = request[CALLER].user_id, request.app[READERS]
    found = await request.app[FEED].read(user_id, wanted["since"])
    if wanted["wait"] and not has_news(found):
        async with readers.place(user_id), request.app[TURNS].pause(user_id):
            found = await wait_for_changes(request, wanted["since"], wanted["wait"])
    return reply({"events": found.events(), "cursor": found.cursor, "more": found.more})


def has_news(reading: Reading) -> bool:
    return bool(reading.rows) or reading.is_lost


async def wait_for_changes(request: web.Request, since: int, seconds: float) -> Reading:
    user_id, hub = request[CALLER].user_id, request.app[HUB]
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    with hub.watch(user_id) as moved:
        while True:
            moved.clear()
            found = await request.app[FEED].read(user_id, since)
            if has_news(found):
                # It may be from after the end of the session.
                await request.app[TOKENS].confirm(request[CALLER])
                return found
            while not moved.is_set():
                if clock() >= end or hub.is_closed or has_left(request):
                    return found
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(min(end, clock() + LOOK_SECONDS)):
                        await moved.wait()
            # The session may have ended: that sets the event too.
            await request.app[TOKENS].confirm(request[CALLER])


def has_left(request: web.Request) -> bool:
    """Tell whether the client has closed its connection: its place is for others then."""
    return request.transport is None or request.transport.is_closing()
