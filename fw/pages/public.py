"""The public page of an inbox: anyone sends feedback to its owner, also without JavaScript and from other sites' forms.

It knows no session: what it does is the same for everyone.
"""

import hashlib
from typing import Any, Final

from aiohttp import web

from fw.accounts.fields import USERNAME
from fw.database.pool import DATABASE, Row
from fw.errors import Invalid, NotFound, Problem, TooManyRequests, Unavailable
from fw.ids import new_id
from fw.inbox.intake import INTAKE
from fw.inbox.sender import MESSAGE, admit, compose, sender_of
from fw.pages.words import in_words, sentence
from fw.web.fields import Text
from fw.web.limits import LIMITS
from fw.web.origin import own_origin
from fw.web.request import is_short, read_form, validate
from fw.web.schemas import Query
from fw.web.templates import SENDS_FORMS, SHOWS_PROFILES, page

POLICY: Final = {**SHOWS_PROFILES, **SENDS_FORMS}
KEY: Final = 64
BODY_SHOWN: Final = 16 * 1024
"""The longest form whose text is shown again if a limit is reached."""


class Form(Query):
    """What the form sends; whatever else a form of another site has in it is ignored."""

    message = Text(1, MESSAGE, trim=True, required=True)
    key = Text(0, KEY, load_default="")


FORM: Final = Form()


def username_of(request: web.Request) -> str:
    """Return the username in the path. Raises `NotFound` if it cannot be one."""
    username = request.match_info["username"]
    if not USERNAME.fullmatch(username):
        raise NotFound
    return username


async def find_owner(request: web.Request) -> Row:
    """Return the public account whose username is in the path. Raises `NotFound`."""
    owner = await request.app[DATABASE].row("users.public", username_of(request))
    if owner is None:
        raise NotFound
    return owner


@in_words
async def show(request: web.Request) -> web.Response:
    """Show the form."""
    return form(request, await find_owner(request))


@in_words
async def thank(request: web.Request) -> web.Response:
    """Thank whoever has sent something."""
    owner = await find_owner(request)
    return page("pages/thanks.html", policy=POLICY, owner=owner, address=own_address(request, owner["username"]))


@in_words
async def send(request: web.Request) -> web.Response:
    """Take the form. If that fails, the page comes again with what was typed, and says why."""
    username, sender = username_of(request), sender_of(request)
    try:
        await admit(request.app[LIMITS], sender, username.lower())
    except TooManyRequests as problem:
        # The text of a long one is still there when the person goes back.
        return form(
            request, unknown_owner(request), await read_typed(request) if is_short(request, BODY_SHOWN) else {}, problem
        )
    typed = await read_typed(request)
    try:
        values = validate(FORM, typed)
        values |= {"metadata": None, "idempotency_key": key_of(values)}
        await request.app[INTAKE].submit(compose(values, sender, username=username.lower()))
    except Unavailable as problem:
        # The database has been asked for long enough.
        return form(request, unknown_owner(request), typed, problem)
    except Invalid as problem:
        return form(request, await known_owner(request), typed, problem)
    # So that a reload sends nothing again.
    return web.Response(status=303, headers={"Location": f"/u/{username}/thanks"})


async def read_typed(request: web.Request) -> dict[str, str]:
    """Read what was typed. Raises what `read_form` raises."""
    sent = await read_form(request)
    key = sent.get("key", "")[:KEY]
    # Forms send CRLF where the person pressed Enter once.
    return {"message": sent.get("message", "").replace("\r\n", "\n"), "key": key if key.isprintable() else ""}


def key_of(values: dict[str, Any]) -> str | None:
    """Return the idempotency key of a form: the same if the same text is sent again, by a double click or by going back."""
    if not values["key"]:
        return None
    return hashlib.sha256(f"{values['key']} {values['message']}".encode()).hexdigest()


async def known_owner(request: web.Request) -> Row | dict[str, Any]:
    """Return the owner, or no more than is in the path while the database cannot be asked. Raises `NotFound`."""
    try:
        return await find_owner(request)
    except Unavailable:
        return unknown_owner(request)


def unknown_owner(request: web.Request) -> dict[str, Any]:
    """Return of the owner what is in the path."""
    return {"username": username_of(request), "profile_image": None}


def form(
    request: web.Request, owner: Row | dict[str, Any], typed: dict[str, Any] | None = None, problem: Problem | None = None
) -> web.Response:
    """Return the page with its form: empty, or with what was typed and what is wrong with it."""
    typed = typed or {}
    response = page(
        "pages/public.html",
        problem=problem,
        # Not no-store: going back has to find the page with what was typed.
        caching="private, no-cache",
        policy=POLICY,
        owner=owner,
        address=own_address(request, owner["username"]),
        message=typed.get("message", ""),
        key=typed.get("key") or new_id(),
        error=problem and reason(problem, typed.get("message", "")),
        most=MESSAGE,
    )
    response.headers["X-Robots-Tag"] = "noindex"
    return response


def reason(problem: Problem, message: str) -> str:
    """Say what is wrong with what was typed."""
    if not isinstance(problem, Invalid):
        return sentence(problem)
    length = len(message.strip())
    if not length:
        return "Write a message first."
    if length > MESSAGE:
        return f"A message has at most {MESSAGE:,} characters; this one has {length:,}."
    return "The message has characters that cannot be stored."


def own_address(request: web.Request, username: str) -> str:
    return f"{own_origin(request)}/u/{username}"
