"""What the two ways to send feedback (to an inbox, through a widget) share: limits, reading, storing and answering."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from aiohttp import web
from marshmallow import ValidationError, fields
from multidict import istr

from fw.config import CONFIG, IpMode
from fw.ids import created_at
from fw.inbox.batch import Submission
from fw.inbox.metadata import dump
from fw.web.address import REMEMBERED, bucket, client_address, stored_part
from fw.web.fields import Rule
from fw.web.limits import Limits
from fw.web.operation import Answer
from fw.web.request import read_headers, read_object
from fw.web.response import reply
from fw.web.schemas import Headers, Output

MESSAGE: Final = 5000
"""Most characters of a message."""
SUBMISSION: Final = "submission"
IDEMPOTENCY_KEY: Final = istr("Idempotency-Key")
TO_INBOX: Final = "submission-inbox"


class Receipt(Output):
    component = "Receipt"
    id = fields.UUID(required=True)
    created_at = fields.DateTime(required=True)


class IdempotencyKey(Rule[str]):
    """The name that a client gives to a submission, so that a repetition is recognised."""

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= 255 or not value.isprintable():
            raise ValidationError("Must be 1 to 255 printable characters.")
        return value

    def describe(self) -> dict[str, Any]:
        return {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": r"^[!-~]([ -~]*[!-~])?$",
            "description": "If it is sent again with the same body within 24 hours, the answer has the first one's id.",
        }


class SubmitHeaders(Headers):
    idempotency_key = IdempotencyKey(data_key="Idempotency-Key")


RECEIPT: Final = Answer(201, Receipt(), ("RateLimit", "RateLimit-Policy"))


class Sender(NamedTuple):
    """Where a submission comes from: the address as limits count it, and as it is stored."""

    bucket: str
    kept_address: str | None


def sender_of(request: web.Request) -> Sender:
    config = request.app[CONFIG]
    return sender_at(client_address(request, config.trusted_proxies), config.ip_mode)


@lru_cache(REMEMBERED)
def sender_at(address: str | None, mode: IpMode) -> Sender:
    return Sender(bucket(address), stored_part(address, mode))


async def admit(limits: Limits, sender: Sender, inbox: str | None) -> dict[str, str]:
    """Count a submission before anything else is done, and return the headers that tell how much its sender has left.

    `inbox` is the owner's folded username; if it is None, `admit_to` has to follow. Raises `TooManyRequests`.
    """
    if inbox is None:
        return await limits.take((SUBMISSION, sender.bucket))
    return await limits.take((SUBMISSION, sender.bucket), (TO_INBOX, f"{sender.bucket} {inbox}"))


async def admit_to(limits: Limits, sender: Sender, inbox: str) -> dict[str, str]:
    """Count a submission against the limit of its inbox, once that is known. Raises `TooManyRequests`."""
    return await limits.take((TO_INBOX, f"{sender.bucket} {inbox}"))


async def read_submission(request: web.Request) -> dict[str, Any]:
    """Read and validate the body and the idempotency key. Raises what `read_object` raises."""
    values = await read_object(request)
    # Most have no key, and looking for the header is quicker than validating.
    values["idempotency_key"] = read_headers(request)["idempotency_key"] if IDEMPOTENCY_KEY in request.headers else None
    return values


def compose(values: Mapping[str, Any], sender: Sender, **inbox: str) -> Submission:
    """Return the submission to store; `inbox` is `username` (folded), or `user_id` and `widget_id`."""
    key = values["idempotency_key"]
    return Submission(
        message=values["message"],
        metadata=None if values["metadata"] is None else dump(values["metadata"]),
        ip_address=sender.kept_address,
        idempotency_key=key,
        body_hash=None if key is None else body_hash(values, inbox.get("widget_id")),
        **inbox,
    )


def receipt(feedback_id: str, standing: Mapping[str, str]) -> web.Response:
    """Return the answer to a submission that is committed."""
    return reply({"id": feedback_id, "created_at": created_at(feedback_id)}, status=201, headers=standing)


def body_hash(values: Mapping[str, Any], widget_id: str | None) -> bytes:
    """Hash the values and not the bytes: white space and the order of fields do not make another body."""
    meant = {"message": values["message"], "metadata": values["metadata"], "widget_id": widget_id}
    return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).digest()
