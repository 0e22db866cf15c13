"""Ends the mails of new feedback: by the link in each, or by the mail program itself (RFC 8058). No sign-in is needed."""

import logging

from aiohttp import web

from fw.config import CONFIG
from fw.database.pool import DATABASE
from fw.errors import NotFound
from fw.pages.words import in_words
from fw.web.links import unsubscribed_user
from fw.web.templates import SENDS_FORMS, page

log = logging.getLogger("fw.mail")


@in_words
async def show(request: web.Request) -> web.Response:
    """Ask whether to turn the mails off: whatever looks at links turns nothing off."""
    user_of(request)
    return page("pages/unsubscribe.html", policy=SENDS_FORMS, token=request.query["token"], is_done=False)


@in_words
async def turn_off(request: web.Request) -> web.Response:
    """Turn the mails off."""
    user_id = user_of(request)
    await request.app[DATABASE].change("notifications.turn_off", user_id)
    log.info("unsubscribed", extra={"user_id": user_id})
    return page("pages/unsubscribe.html", policy=SENDS_FORMS, token="", is_done=True)


def user_of(request: web.Request) -> str:
    """Return the id of the account that the token in the query is for. Raises `NotFound`."""
    user_id = unsubscribed_user(request.app[CONFIG].jwt_secrets, request.query.get("token", ""))
    if user_id is None:
        raise NotFound
    return user_id
