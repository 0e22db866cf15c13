"""What every public submission comes to, by whichever path: a row for the intake, and its answer."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from fw import keys
from fw.addresses import bucket, client_address, kept
from fw.errors import Invalid
from fw.ids import created_at
from fw.inbox.intake import Submission
from fw.payload import reply
from fw.schemas.feedback import dump

SUBMISSION: Final = "submission"
TO_INBOX: Final = "submission-inbox"


async def admit(request: web.Request, inbox: str | None) -> None:
    """Count a submission against its sender's limits before anything is done for it: refusing takes no connection.

    `inbox` is named by its owner's folded username; where that is not known yet, `admit_to` follows. Raises `TooManyRequests`.
    """
    address = bucket(client_address(request, request.app[keys.CONFIG].trusted_proxies))
    subjects = {SUBMISSION: address} if inbox is None else {SUBMISSION: address, TO_INBOX: f"{inbox} {address}"}
    request[keys.STANDING] = await request.app[keys.LIMITS].take(subjects)


async def admit_to(request: web.Request, inbox: str) -> None:
    """Count a submission against the limit of an inbox that has only now been found. Raises `TooManyRequests`."""
    address = bucket(client_address(request, request.app[keys.CONFIG].trusted_proxies))
    request[keys.STANDING] = await request.app[keys.LIMITS].take({TO_INBOX: f"{inbox} {address}"})


async def store(request: web.Request, values: Mapping[str, Any], **inbox: str) -> web.Response:
    """Hand a validated submission to the intake, and answer when it is committed.

    `inbox` names the row's place: `username` (folded), or `user_id` and `widget_id`.
    """
    config = request.app[keys.CONFIG]
    key = idempotency_key(request)
    feedback_id = await request.app[keys.INTAKE].submit(
        Submission(
            message=values["message"],
            metadata=None if values["metadata"] is None else dump(values["metadata"]),
            ip_address=kept(client_address(request, config.trusted_proxies), config.ip_mode),
            idempotency_key=key,
            body_hash=None if key is None else body_hash(values, inbox.get("widget_id")),
            **inbox,
        )
    )
    return reply({"id": feedback_id, "created_at": created_at(feedback_id)}, status=201, headers=request[keys.STANDING])


def idempotency_key(request: web.Request) -> str | None:
    """Return the caller's key, if there is one. Raises `Invalid`."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= 255 and key.isprintable()):
        raise Invalid(errors={"Idempotency-Key": ["Must be 1 to 255 printable characters."]})
    return key


def body_hash(values: Mapping[str, Any], widget_id: str | None) -> bytes:
    """Hash what was meant, not how it was spelled: white space and the order of fields do not make another body."""
    meant = {"message": values["message"], "metadata": values["metadata"], "widget_id": widget_id}
    return hashlib.sha256(json.dumps(meant, sort_keys=True).encode()).digest()
