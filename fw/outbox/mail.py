"""The courier of mails: reads what a mail is to say when it is sent, and sends it by the mail server."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

from fw.config import Config
from fw.database.pool import Database, Row
from fw.outbox.digests import DAILY, HOURLY, period_end, zone_of
from fw.outbox.letters import Letter, NoAddress, address_of, clean, compose, excerpt, in_a_line
from fw.outbox.smtp import SEND_SECONDS, MailServer, Unsent
from fw.outbox.worker import Job, Later, Never
from fw.web.links import RESET, VERIFY, link, link_token, token_hash, unsubscribe_token

log = logging.getLogger("fw.mail")

DELAYS: Final = (60.0, 300.0, 1800.0, 7200.0, 21600.0)
"""After how many seconds a mail is tried again that the server did not take, by the number of attempts."""
PAUSE_SECONDS: Final = 5.0
"""How long an account's other mails wait if the server cannot be reached."""
LISTED: Final = 20
"""How many items a digest shows; of the others it has the number."""

Payload = Mapping[str, Any]


class MailCourier:
    """Sends mails. Without a mail server the links of mails are logged if the database is the embedded one."""

    attempt_seconds = SEND_SECONDS + 10.0
    lanes_at_once = 8
    # All its lanes wait for one and the same server.
    slow_lanes = 0

    def __init__(self, config: Config, database: Database) -> None:
        self._config, self._database = config, database
        self._server = MailServer(config.smtp_url, address_of(config.mail_from)) if config.smtp_url else None
        self._writers: Mapping[str, Callable[[Job, Row, Payload], Awaitable[None]]] = {
            "verification": self._verification,
            "reset": self._reset,
            "password": self._password,
            "address": self._address,
            "feedback": self._feedback,
            "digest": self._digest,
            "webhook": self._webhook,
        }

    async def deliver(self, job: Job) -> None:
        """Write and send a mail, unless what it would say is no longer so."""
        payload = json.loads(job.payload)
        account = await self._database.row("mail.account", job.user_id)
        if account is None:
            raise Never("no account", is_expected=True)
        await self._writers[payload["letter"]](job, account, payload)

    async def _verification(self, job: Job, account: Row, payload: Payload) -> None:
        await self._with_token(job, account, VERIFY, "mail.open_verification", "Confirm your e-mail address")

    async def _reset(self, job: Job, account: Row, payload: Payload) -> None:
        await self._with_token(job, account, RESET, "mail.open_reset", "Set a new password")

    async def _with_token(self, job: Job, account: Row, purpose: str, statement: str, subject: str) -> None:
        # The secret may have been replaced since the job was written.
        tokens = [link_token(secret, purpose, job.id) for secret in self._config.jwt_secrets]
        by_hash = {token_hash(token): token for token in tokens}
        row = await self._database.row(statement, job.user_id, list(by_hash))
        if row is None:
            raise Never("out of date", is_expected=True)
        address = link(self._config, purpose, by_hash[bytes(row["token_hash"])])
        await self._send(job, account, name=purpose, subject=subject, link=address)

    async def _password(self, job: Job, account: Row, payload: Payload) -> None:
        await self._notice(job, account, "password", "Your password was changed")

    async def _address(self, job: Job, account: Row, payload: Payload) -> None:
        await self._notice(job, account, "address", "Your e-mail address was changed", page="", to=payload["email"])

    async def _webhook(self, job: Job, account: Row, payload: Payload) -> None:
        webhook = await self._database.row("mail.webhook", job.user_id, payload["webhook_id"])
        if webhook is None:
            raise Never("out of date", is_expected=True)
        page = f"inbox/webhooks/{payload['webhook_id']}"
        values = {"url": in_a_line(webhook["url"], 200), "reason": in_a_line(webhook["disabled_reason"] or "", 200)}
        await self._notice(job, account, "webhook", "A webhook was turned off", page=page, **values)

    async def _notice(
        self, job: Job, account: Row, name: str, subject: str, *, page: str = "forgot", to: str = "", **values: str
    ) -> None:
        await self._send(job, account, name=name, subject=subject, link=f"{self._config.origin}/{page}", to=to, values=values)

    async def _feedback(self, job: Job, account: Row, payload: Payload) -> None:
        """Tell of one item (the job has its id) that is neither deleted nor read yet."""
        if account["mail"] == "off":
            raise Never("turned off", is_expected=True)
        item = await self._database.row("mail.feedback", job.user_id, job.id)
        if item is None:
            raise Never("out of date", is_expected=True)
        told = {**shown(item), "message": clean(item["message"])}
        subject = f"New feedback: {told['message'] or told['rating']}"
        await self._send_told(job, account, name="feedback", subject=subject, values={"item": told})

    async def _digest(self, job: Job, account: Row, payload: Payload) -> None:
        """Tell of all that has arrived, once its hour or day is over."""
        told_cursor = account["told_cursor"]
        try:
            if account["mail"] in (HOURLY, DAILY):
                zone = zone_of(account["timezone"])
                end = period_end(account["mail"], job.created_at, zone)
                if account["now"] < end:
                    raise Later("not yet", (end - account["now"]).total_seconds(), is_counted=False)
                items = await self._database.rows("mail.digest", job.user_id, told_cursor, end, LISTED)
                if items:
                    told_cursor = items[0]["last_cursor"]
                    await self._send_told(job, account, name="digest", **listed(items, zone))
        except Never:
            await self._end_digest(job, told_cursor)
            raise
        await self._end_digest(job, told_cursor)

    async def _end_digest(self, job: Job, told_cursor: int) -> None:
        await self._database.change("mail.end_digest", job.user_id, job.id, told_cursor)

    async def _send_told(self, job: Job, account: Row, **letter: Any) -> None:
        """Send a mail of new feedback, which goes to verified addresses alone."""
        if self._server and not account["is_verified"]:
            raise Never("not verified", is_expected=True)
        token = unsubscribe_token(self._config.jwt_secrets[0], job.user_id)
        origin = self._config.origin
        await self._send(job, account, link=f"{origin}/inbox", unsubscribe=f"{origin}/unsubscribe?token={token}", **letter)

    async def _send(self, job: Job, account: Row, *, to: str = "", values: Payload | None = None, **letter: Any) -> None:
        whole = Letter(to=to or account["email"], values={"username": account["username"], **(values or {})}, **letter)
        if self._server is None:
            if not self._config.is_embedded:
                raise Never("no smtp", is_expected=True)
            log.info("no mail server: a mail is not sent, this is its link", extra={"letter": whole.name, "link": whole.link})
            return
        try:
            await self._server.send(compose(whole, self._server.sender, job.id), address_of(whole.to))
        except NoAddress:
            raise Never("address") from None
        except Unsent as unsent:
            raise outcome(job, unsent) from unsent


def outcome(job: Job, unsent: Unsent) -> Later | Never:
    """Return what becomes of a mail that the server did not take."""
    if unsent.is_final:
        return Never(unsent.reason)
    if job.attempts > len(DELAYS):
        return Never(f"{unsent.reason}, too often")
    pause = 0.0 if unsent.reason == "busy" else PAUSE_SECONDS
    return Later(unsent.reason, DELAYS[job.attempts - 1], pause=pause)


def shown(item: Row) -> dict[str, str]:
    """Return the rating of an item in words, empty if it has none."""
    rating = json.loads(item["metadata"] or "{}").get("rating")
    return {"rating": f"Rating: {rating:g}" if isinstance(rating, int | float) else ""}


def listed(items: Sequence[Row], zone: ZoneInfo) -> dict[str, Any]:
    """Return the subject and the values of a digest."""
    total = items[0]["total"]
    told = [
        {**shown(item), "message": excerpt(item["message"]), "time": f"{item['created_at'].astimezone(zone):%d %b %H:%M}"}
        for item in items
    ]
    subject = f"{total:,} new {'message' if total == 1 else 'messages'} in your inbox"
    return {"subject": subject, "values": {"items": told, "more": total - len(items)}}
