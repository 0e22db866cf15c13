"""Logging out."""

import logging

from aiohttp import web

from fw.accounts.tokens import CALLER
from fw.database.bus import BUS, SESSIONS
from fw.database.pool import DATABASE
from fw.web.operation import Answer, operation

log = logging.getLogger("fw.auth")


@operation("auth_logout", Answer(204))
async def logout(request: web.Request) -> web.Response:
    """End the session of the token."""
    caller = request[CALLER]
    await request.app[DATABASE].change("sessions.revoke", caller.user_id, caller.session_id)
    await request.app[BUS].publish(SESSIONS, [caller.user_id])
    log.info("logged out", extra={"user_id": caller.user_id, "session_id": caller.session_id})
    return web.Response(status=204)
