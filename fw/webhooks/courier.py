"""Sends what happens to an inbox to its owner's webhooks."""

import random
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Self

import orjson
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientOSError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientSSLError,
    ServerDisconnectedError,
)
from yarl import URL

from fw import __version__
from fw.config import Config
from fw.database.pool import Database, Row
from fw.outbox.worker import Job, Later, Never
from fw.webhooks.fields import why_refused
from fw.webhooks.resolver import NotPublic, NotResolved
from fw.webhooks.session import open_session
from fw.webhooks.signature import signed_headers
from fw.webhooks.webhook import PING

DELAYS: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
"""Seconds before the second attempt, the third, and so on (Standard Webhooks)."""
JITTER: Final = 0.2
"""The most that is added to a delay, as a part of it: so that what failed together does not come again together."""
PAUSE_SECONDS: Final = 60.0
"""The longest time for which a webhook that fails is left alone, with all that waits for it."""
FAILING_SECONDS: Final = 5 * 86400.0
ANSWER_BYTES: Final = 64 * 1024
"""How much of an answer is read. It says nothing that is used, but a sender that stops reading is an error to some servers."""
GONE: Final = 410
ABOUT_SENDING: Final = frozenset(("url", "is_active", "secret", "old_secret", "type", "happened_at", "feedback_id"))
"""The columns of what is to be sent that are no part of the feedback."""


class Outcome(NamedTuple):
    """How an attempt ended: with the status of an answer, if there was one, and in words why it failed, if it did."""

    status: int | None
    error: str


class WebhookCourier:
    """Makes attempts, and notes in the list of deliveries how they ended. A lane is a webhook, whose id is its key."""

    lanes_at_once = 200
    slow_lanes = 800

    def __init__(self, config: Config, database: Database) -> None:
        self._allow_private = config.webhook_allow_private
        self._database = database
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        session, self._session = self._session, None
        if session:
            await session.close()

    def _open_session(self) -> ClientSession:
        """Return the session, which is opened for the first attempt: to load the certificates of all authorities takes time."""
        if self._session is None:
            context = ssl.create_default_context()
            # Handshakes are made in the event loop: no group that a receiver chooses may take long. Every server of TLS 1.3 has
            # this curve (RFC 8446, 9.1); a Diffie-Hellman group of 10,000 bits takes 0.9 s.
            context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
            context.set_ecdh_curve("prime256v1")
            context.set_alpn_protocols(["http/1.1"])
            self._session = open_session(context, self._allow_private, f"FeedbackWave/{__version__}")
        return self._session

    async def deliver(self, job: Job) -> bool:
        names = (job.user_id, job.key, job.id)
        row = await self._database.row("webhooks.to_send", *names)
        if row is None:
            return False
        if reason := why_ended(row):
            await self._database.change("webhooks.ended", *names, reason)
            return False
        outcome = await self._attempt(job, row)
        if outcome.error:
            raise await self._note_failure(job, row, outcome)
        await self._database.change("webhooks.delivered", *names, outcome.status)
        return True

    async def _attempt(self, job: Job, row: Row) -> Outcome:
        if why_refused(row["url"], self._allow_private):
            # It was made when the server had other settings.
            return Outcome(None, "the address is not public" if row["url"].startswith("https:") else "the address is not https")
        body = body_of(row)
        keys = [key for key in (row["secret"], row["old_secret"]) if key]
        headers = signed_headers(job.id, int(time.time()), body, keys)
        try:
            url = URL(row["url"], encoded=True)
            async with self._open_session().post(url, data=body, headers=headers, allow_redirects=False) as answer:
                await drain(answer)
                return Outcome(answer.status, why_failed(answer.status))
        except (ClientError, OSError, ValueError) as error:
            return Outcome(None, in_words(error))

    async def _note_failure(self, job: Job, row: Row, outcome: Outcome) -> Later | Never:
        """Note a failed attempt, and return what it means for the job."""
        names, is_ping = (job.user_id, job.key, job.id), row["type"] == PING
        delay = None if is_ping else delay_after(job.attempts)
        noted = await self._database.change("webhooks.failed", *names, outcome.status, outcome.error, delay, not is_ping)
        failing_seconds = noted["failing_seconds"] if noted else 0.0
        if row["is_active"] and (reason := why_off(outcome, failing_seconds, job.attempts)):
            await self._database.change("webhooks.turn_off", job.user_id, job.key, reason)
            return Never(outcome.error)
        if delay is None:
            return Never(outcome.error)
        # The longer it has failed, the less it is troubled with what else waits for it, and the fewer turns it takes.
        return Later(outcome.error, delay, pause=min(PAUSE_SECONDS, max(delay, failing_seconds)))


def why_ended(row: Row) -> str:
    """Tell why a delivery is not to be sent any more; nothing if it is."""
    if not row["is_active"] and row["type"] != PING:
        return "the webhook was turned off"
    if row["type"] in ("feedback.created", "feedback.updated") and row["id"] is None:
        return "deleted before it was delivered"
    return ""


def body_of(row: Row) -> bytes:
    """Return the body: what happened, when, and to which feedback, as it is now."""
    data: Mapping[str, Any] | None
    if row["type"] == PING:
        data = None
    elif row["type"] == "feedback.deleted":
        data = {"id": row["feedback_id"]}
    else:
        data = {name: value for name, value in row.items() if name not in ABOUT_SENDING}
    return orjson.dumps({"type": row["type"], "timestamp": row["happened_at"], "data": data}, option=orjson.OPT_UTC_Z)


async def drain(answer: ClientResponse) -> None:
    """Read some of an answer. Its status has come: whatever happens from here on does not change what it says."""
    try:
        left = ANSWER_BYTES
        while left > 0 and (chunk := await answer.content.read(left)):
            left -= len(chunk)
    except (ClientError, OSError):
        pass
    finally:
        answer.close()


def why_failed(status: int) -> str:
    """Tell why an answer is no success; nothing if it is one."""
    if 200 <= status < 300:
        return ""
    return f"the answer was {status}" + (": redirects are not followed" if 300 <= status < 400 else "")


def why_off(outcome: Outcome, failing_seconds: float, attempts: int) -> str:
    """Tell why a webhook that failed is to be turned off; nothing if it is not."""
    if outcome.status == GONE:
        return "The answer was 410: gone."
    # Where little happens, one failure of today and one of last week are not five days of failing.
    if failing_seconds >= FAILING_SECONDS and attempts > 2:
        return "Every attempt of the last 5 days has failed."
    return ""


def delay_after(attempts: int) -> float | None:
    """Return in how many seconds the next attempt is after so many; None if there is none."""
    if attempts > len(DELAYS):
        return None
    return DELAYS[attempts - 1] * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311


def in_words(error: Exception) -> str:
    """Tell what went wrong, for the owner of the webhook: without what only the operators of this server may know."""
    cause = error.os_error if isinstance(error, ClientConnectorError) else error
    for kinds, words in WORDS:
        if isinstance(error, kinds) or isinstance(cause, kinds):
            return words
    return "the connection failed"


WORDS: Final[tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...]] = (
    (NotPublic, "the address is not public"),
    (NotResolved, "the name was not resolved in time"),
    (TimeoutError, "timed out"),
    (ClientConnectorDNSError, "the name has no address"),
    (ClientConnectorCertificateError, "certificate is not valid"),
    (ClientSSLError, "TLS failed"),
    (ConnectionRefusedError, "connection refused"),
    (ClientConnectorError, "the address cannot be reached"),
    ((ServerDisconnectedError, ClientOSError), "the connection was closed without an answer"),
    (ClientResponseError, "the answer is not HTTP"),
)
"""What can go wrong, the special before the general."""
