"""Sending feedback to an inbox, from anyone."""

from aiohttp import web

from fw.accounts.fields import USERNAME
from fw.errors import IdempotencyMismatch, NotFound, TooManyRequests
from fw.inbox.metadata import Metadata
from fw.inbox.sender import MESSAGE, RECEIPT, SubmitHeaders, admit, store
from fw.web.fields import Text
from fw.web.operation import operation
from fw.web.request import read_object
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
    sender = await admit(request, username if is_name else "")
    values = await read_object(request)
    if not is_name:
        raise NotFound
    return await store(request, values, sender, username=username)
