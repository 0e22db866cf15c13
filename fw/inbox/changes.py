"""What changed in an inbox after a cursor, as a long poll."""

import asyncio

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
            if clock() >= end or hub.is_closed:
                return found
            try:
                async with asyncio.timeout_at(end):
                    await moved.wait()
            except TimeoutError:
                return found
            # The session may have ended: that sets the event too.
            await request.app[TOKENS].confirm(request[CALLER])
