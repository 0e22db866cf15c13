"""Sending feedback to an inbox."""

from aiohttp import web

from fw.accounts.fields import USERNAME
from fw.errors import IdempotencyMismatch, NotFound, TooManyRequests
from fw.inbox.intake import INTAKE
from fw.inbox.metadata import Metadata
from fw.inbox.sender import MESSAGE, RECEIPT, SubmitHeaders, admit, compose, read_submission, receipt, sender_of
from fw.web.fields import Text
from fw.web.limits import LIMITS
from fw.web.operation import operation
from fw.web.schemas import Body


class Submit(Body):
    component = "FeedbackSubmit"
    message = Text(1, MESSAGE, trim=True, example="Well done!", required=True)
    metadata = Metadata(allow_none=True, load_default=None)


@operation(
    "feedback_submit",
    RECEIPT,
    body=Submit(),
    headers=SubmitHeaders(),
    refuses=(NotFound, IdempotencyMismatch, TooManyRequests),
    leads_to=("feedback_show", "feedback_mark", "feedback_delete"),
)
async def submit(request: web.Request) -> web.Response:
    """Take feedback for a user, from anyone."""
    username = request.match_info["ref"].lower()
    is_name = USERNAME.fullmatch(username) is not None
    sender = sender_of(request)
    standing = await admit(request.app[LIMITS], sender, username if is_name else "")
    values = await read_submission(request)
    if not is_name:
        raise NotFound
    return receipt(await request.app[INTAKE].submit(compose(values, sender, username=username)), standing)
