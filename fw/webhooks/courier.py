"""Sends what happens to an inbox to its owner's webhooks."""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any, Final, Self

import orjson

from fw.config import Config
from fw.database.pool import Database, Row
from fw.outbox.worker import Job, Later, Never
from fw.webhooks.fields import why_refused
from fw.webhooks.outcome import LOST, TOO_SLOW_TLS, Outcome
from fw.webhooks.sender import Interrupted, Lost, Sender, StoodStill
from fw.webhooks.signature import signed_headers
from fw.webhooks.webhook import PING

DELAYS: Final = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 36000.0)
"""Seconds before the second attempt, the third, and so on (Standard Webhooks)."""
JITTER: Final = 0.2
"""The most that is added to a delay, as a part of it: so that what failed together does not come again together."""
PAUSE_SECONDS: Final = 60.0
"""The longest time for which a webhook that fails is left alone, with all that waits for it."""
FAILING_SECONDS: Final = 5 * 86400.0
TOTAL_SECONDS: Final = 15.0
SINGLE_SECONDS: Final = 6.0
TRIES: Final = 4
"""How often an attempt begins that is interrupted by others."""
MOST_COSTLY: Final = 10_000
"""How many such accounts are known at most."""
MOST_PROVEN: Final = 10_000
"""How many receivers that have answered well are known at most."""
GONE: Final = 410
ABOUT_SENDING: Final = frozenset(("url", "is_active", "secret", "old_secret", "type", "happened_at", "feedback_id"))
"""The columns of what is to be sent that are no part of the feedback."""


Receiver = tuple[str, str]
"""The id and the address of a webhook."""


class Single:
    """A sender that makes one attempt at a time: whoever is in the line waits for those before it alone."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self._is_taken = asyncio.Lock()

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Make an attempt. Raises `Later` if others take too long."""
        try:
            async with asyncio.timeout(SINGLE_SECONDS):
                await self._is_taken.acquire()
        except TimeoutError:
            raise Later("others are sent one by one", PAUSE_SECONDS, is_counted=False) from None
        try:
            return await send(self.sender, url, headers, body, SINGLE_SECONDS)
        finally:
            self._is_taken.release()


class WebhookCourier:
    """Makes attempts, and notes in the list of deliveries how they ended. A lane is a webhook, whose id is its key."""

    attempt_seconds = 30.0
    lanes_at_once = 200
    slow_lanes = 800

    def __init__(self, config: Config, database: Database) -> None:
        self._allow_private = config.webhook_allow_private
        self._database = database
        self._sender = Sender(allow_private=config.webhook_allow_private)
        # What has not answered well yet may be made to stop its sender, again and again with new webhooks.
        self._newcomers = Sender(allow_private=config.webhook_allow_private)
        self._proven: dict[Receiver, None] = {}
        self._quarantine = Single(Sender(allow_private=config.webhook_allow_private))
        # Accounts with a receiver whose TLS takes much of a processor's time: they wait for each other, nobody else for them.
        self._costly: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for sender in (self._sender, self._newcomers, self._quarantine.sender):
            await sender.__aexit__()

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
        receiver = (job.key, row["url"])
        if job.user_id in self._costly:
            outcome = await self._quarantine.send(row["url"], headers, body)
        else:
            sender = self._sender if receiver in self._proven else self._newcomers
            outcome = await send(sender, row["url"], headers, body, TOTAL_SECONDS)
        self._learn(job.user_id, receiver, outcome)
        return outcome

    def _learn(self, user_id: str, receiver: Receiver, outcome: Outcome) -> None:
        if outcome.is_costly:
            if len(self._costly) >= MOST_COSTLY:
                self._costly.clear()
            self._costly.add(user_id)
        if not outcome.error:
            self._proven[receiver] = None
            if len(self._proven) > MOST_PROVEN:
                # The one that was proven first; it may prove itself again.
                del self._proven[next(iter(self._proven))]

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


async def send(sender: Sender, url: str, headers: Mapping[str, str], body: bytes, seconds: float) -> Outcome:
    """Make an attempt, again if it is interrupted by one that stops the sender. Raises `Later` if that does not end."""
    for _ in range(TRIES):
        try:
            return await sender.send(url, headers, body, seconds)
        except StoodStill:
            return TOO_SLOW_TLS
        except Lost:
            return LOST
        except Interrupted:
            # Whoever it was is turned off.
            continue
    raise Later("interrupted", DELAYS[0], is_counted=False)


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


def why_off(outcome: Outcome, failing_seconds: float, attempts: int) -> str:
    """Tell why a webhook that failed is to be turned off; nothing if it is not."""
    if outcome.status == GONE:
        return "The answer was 410: gone."
    if outcome == TOO_SLOW_TLS:
        return "Its TLS handshake takes too much of a processor's time."
    # Where little happens, one failure of today and one of last week are not five days of failing.
    if failing_seconds >= FAILING_SECONDS and attempts > 2:
        return "Every attempt of the last 5 days has failed."
    return ""


def delay_after(attempts: int) -> float | None:
    """Return in how many seconds the next attempt is after so many; None if there is none."""
    if attempts > len(DELAYS):
        return None
    return DELAYS[attempts - 1] * random.uniform(1.0, 1.0 + JITTER)  # noqa: S311
