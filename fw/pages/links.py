"""What links lead to: a forgotten password and the new one, and a verified e-mail address."""

from typing import Final

from aiohttp import web

from fw.accounts.fields import EmailField
from fw.accounts.forgot import count_forgot, mail_reset
from fw.config import CONFIG
from fw.errors import Invalid, Problem, TooManyRequests, Unavailable
from fw.pages.words import in_words, sentence
from fw.web.request import is_short, read_form, validate
from fw.web.schemas import Query
from fw.web.templates import SENDS_FORMS, page

FORM_BYTES: Final = 4096
"""An address has at most 320 characters, each of at most 12 bytes in a form."""


class Form(Query):
    email = EmailField(required=True)


async def forgot(request: web.Request) -> web.Response:
    """Ask whose password is forgotten or, if no mail is sent, say who can reset it."""
    return form(request)


@in_words
async def send_link(request: web.Request) -> web.Response:
    """Have a link mailed, and say so, whether there is such an account or not."""
    typed = await read_form(request) if is_short(request, FORM_BYTES) else {}
    try:
        await count_forgot(request)
        await mail_reset(request, validate(Form(), typed)["email"])
    except (Invalid, TooManyRequests, Unavailable) as problem:
        return form(request, typed.get("email", ""), problem)
    return form(request, is_sent=True)


def form(request: web.Request, email: str = "", problem: Problem | None = None, *, is_sent: bool = False) -> web.Response:
    config = request.app[CONFIG]
    error = "That is not an e-mail address." if isinstance(problem, Invalid) else problem and sentence(problem)
    return page(
        "pages/forgot.html",
        problem=problem,
        policy=SENDS_FORMS,
        email=email[:320],
        error=error,
        is_sent=is_sent,
        has_mail=config.has_mail,
        is_logged=not config.smtp_url,
    )


async def reset(request: web.Request) -> web.Response:
    """Ask for the new password. The token stands in the fragment of the link, which no server sees."""
    return page("pages/reset.html")


async def verify(request: web.Request) -> web.Response:
    """Verify an e-mail address at the press of a button. The token stands in the fragment of the link, which no server sees."""
    return page("pages/verify.html")
