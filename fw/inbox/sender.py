"""Who sends feedback: how a submission is admitted, stored and answered, by whichever path it comes."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from marshmallow import ValidationError, fields
from multidict import istr

from fw.config import CONFIG
from fw.ids import created_at
from fw.inbox.intake import INTAKE, Submission
from fw.inbox.metadata import dump
from fw.web.address import bucket, client_address, kept
from fw.web.fields import Rule
from fw.web.limits import LIMITS
from fw.web.operation import Answer
from fw.web.request import read_headers
from fw.web.response import reply
from fw.web.schemas import Headers, Output

MESSAGE: Final = 5000
"""Characters of a message."""
SUBMISSION: Final = "submission"
IDEMPOTENCY_KEY: Final = istr("Idempotency-Key")
TO_INBOX: Final = "submission-inbox"


class Receipt(Output):
    component = "Receipt"
    id = fields.UUID(required=True)
    created_at = fields.DateTime(required=True)


class IdempotencyKey(Rule[str]):
    """A name for one submission, by which its repetitions are known."""

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
            "description": "Repeated with the same body within 24 hours, it is answered with the first one's id.",
        }


class SubmitHeaders(Headers):
    idempotency_key = IdempotencyKey(data_key="Idempotency-Key")


Sender = tuple[str | None, dict[str, str]]
"""Where a submission comes from, and the headers that tell how its sender stands."""
RECEIPT: Final = Answer(201, Receipt(), ("RateLimit", "RateLimit-Policy"))


async def admit(request: web.Request, inbox: str | None) -> Sender:
    """Count a submission against its sender's limits before anything is done for it: refusing takes no connection.

    `inbox` is named by its owner's folded username; where that is not known yet, `admit_to` follows. Raises `TooManyRequests`.
    """
    address = client_address(request, request.app[CONFIG].trusted_proxies)
    whose, take = bucket(address), request.app[LIMITS].take
    if inbox is None:
        return address, await take((SUBMISSION, whose))
    return address, await take((SUBMISSION, whose), (TO_INBOX, f"{whose} {inbox}"))


async def admit_to(request: web.Request, inbox: str, sender: Sender) -> Sender:
    """Count a submission against the limit of an inbox that has only now been found. Raises `TooManyRequests`."""
    address, standing = sender
    return address, await request.app[LIMITS].take((TO_INBOX, f"{bucket(address)} {inbox}")) or standing


async def store(request: web.Request, values: Mapping[str, Any], sender: Sender, **inbox: str) -> web.Response:
    """Hand a validated submission to the intake, and answer when it is committed.

    `inbox` names the row's place: `username` (folded), or `user_id` and `widget_id`.
    """
    address, standing = sender
    # Most come without, and looking is quicker than reading.
    key = read_headers(request)["idempotency_key"] if IDEMPOTENCY_KEY in request.headers else None
    feedback_id = await request.app[INTAKE].submit(
        Submission(
            message=values["message"],
            metadata=None if values["metadata"] is None else dump(values["metadata"]),
            ip_address=kept(address, request.app[CONFIG].ip_mode),
            idempotency_key=key,
            body_hash=None if key is None else body_hash(values, inbox.get("widget_id")),
            **inbox,
        )
    )
    return reply({"id": feedback_id, "created_at": created_at(feedback_id)}, status=201, headers=standing)


def body_hash(values: Mapping[str, Any], widget_id: str | None) -> bytes:
    """Hash what was meant, not how it was spelled: white space and the order of fields do not make another body."""
    meant = {"message": values["message"], "metadata": values["metadata"], "widget_id": widget_id}
    return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).digest()
