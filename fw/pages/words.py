"""Problems in words: what a person reads on a page, where a program reads JSON."""

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Final

from aiohttp import hdrs, web

from fw.errors import NotFound, Problem, TooLarge, TooManyRequests, Unavailable, UnsupportedMediaType
from fw.web.templates import page

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
TITLES: Final[Mapping[type[Problem], str]] = {
    NotFound: "Nobody is here",
    TooLarge: "That is too much",
    TooManyRequests: "One moment",
    Unavailable: "Not right now",
    UnsupportedMediaType: "That form is not one of ours",
}


def waiting_time(problem: Problem) -> str:
    """Say how long to wait, after the header `Retry-After`: "in 40 seconds"."""
    seconds = int(problem.headers.get(hdrs.RETRY_AFTER, 1))
    if seconds <= 2:
        return "in a moment"
    for unit, name in ((HOUR, "hours"), (MINUTE, "minutes")):
        if seconds > 2 * unit:
            return f"in about {round(seconds / unit)} {name}"
    return f"in {seconds} seconds"


def sentence(problem: Problem) -> str:
    """Say what is wrong and what to do, to a person."""
    if isinstance(problem, TooManyRequests):
        return f"A lot has been sent from your network in a short time. Try again {waiting_time(problem)}."
    if isinstance(problem, Unavailable):
        return f"This cannot be done right now. Try again {waiting_time(problem)}."
    if isinstance(problem, NotFound):
        return "There is no such page. The link may be mistyped, or the account is gone."
    return problem.detail


def problem_page(problem: Problem) -> web.Response:
    title = TITLES.get(type(problem), problem.title)
    return page("pages/problem.html", problem=problem, title=title, sentence=sentence(problem))


def in_words(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Have the problems of a page's handler answered by a page."""

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Problem as problem:
            return problem_page(problem)
        except web.HTTPRequestEntityTooLarge:
            response = problem_page(TooLarge())
            # The rest of the body is still on its way.
            response.force_close()
            return response

    return answer
