"""Ending sessions."""

import logging

from aiohttp import web

from fw.accounts.cookies import drop_cookie
from fw.accounts.tokens import CALLER
from fw.database.bus import BUS, SESSIONS
from fw.database.pool import DATABASE
from fw.web.operation import Answer, operation

log = logging.getLogger("fw.auth")


@operation("auth_logout", Answer(204))
async def logout(request: web.Request) -> web.Response:
    """End the session of the token."""
    await end(request, "sessions.revoke", "logged out")
    response = web.Response(status=204)
    drop_cookie(request, response)
    return response


@operation("auth_end_other_sessions", Answer(204))
async def end_others(request: web.Request) -> web.Response:
    """End all sessions of the caller but this one."""
    await end(request, "sessions.revoke_others", "other sessions ended")
    return web.Response(status=204)


async def end(request: web.Request, statement: str, message: str) -> None:
    """End sessions of the caller by a statement, tell every process, and log it."""
    caller = request[CALLER]
    await request.app[DATABASE].change(statement, caller.user_id, caller.session_id)
    request.app[BUS].publish(SESSIONS, [caller.user_id])
    log.info(message, extra={"user_id": caller.user_id, "session_id": caller.session_id})
