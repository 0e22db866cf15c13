"""Tokens: JWTs (HS256), each valid for as long as its session in the database."""

import logging
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from aiohttp import web

from fw.config import Config
from fw.database.pool import Database
from fw.errors import Unauthorized
from fw.ids import is_id, new_id

log = logging.getLogger("fw.auth")

ISSUER: Final = "feedbackwave"
AUDIENCE: Final = "feedbackwave-api"
ALGORITHM: Final = "HS256"
BILLING: Final = "billing"
LEEWAY_SECONDS: Final = 60.0
"""How many seconds the clock of the host that made a token may be ahead of ours."""
REMEMBERED: Final = 10_000
REQUIRED: Final = ("iss", "aud", "sub", "jti", "iat", "exp")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a user in a session or, if there is a scope, another system; until `expires_at` (seconds since 1970)."""

    user_id: str
    session_id: str
    expires_at: float
    scope: str = ""

    @property
    def seconds_left(self) -> float:
        return self.expires_at - time.time()


CALLER: Final[web.RequestKey[Caller]] = web.RequestKey("caller")


@dataclass(frozen=True, slots=True)
class Ticket:
    """A session that is about to be opened: its id, its end, how many seconds it lasts, and its token."""

    session_id: str
    expires_at: datetime
    seconds: int
    token: str


class Tokens:
    """Makes and checks tokens. The first secret signs and all verify, so a secret can be replaced while its tokens live."""

    def __init__(self, config: Config, database: Database) -> None:
        self._secrets = config.jwt_secrets
        self._ttl = timedelta(seconds=config.jwt_ttl)
        self._database = database
        # What a token says does not change; whether its session is still open is looked up every time.
        self._known: dict[str, Caller] = {}

    def issue(self, user_id: str) -> Ticket:
        """Make the token for a new session of a user."""
        return self._sign({"sub": user_id}, self._ttl)

    def issue_service(self, scope: str, life: timedelta) -> Ticket:
        """Make a token for another system, valid for one scope."""
        return self._sign({"sub": scope, "scope": scope}, life)

    def _sign(self, claims: dict[str, Any], life: timedelta) -> Ticket:
        now = datetime.now(UTC).replace(microsecond=0)
        ticket_id, end = new_id(), now + life
        claims |= {"iss": ISSUER, "aud": AUDIENCE, "jti": ticket_id, "iat": now, "exp": end}
        return Ticket(ticket_id, end, int(life.total_seconds()), jwt.encode(claims, self._secrets[0], ALGORITHM))

    async def authenticate(self, token: str) -> Caller:
        """Return the caller of a token. Raises `Unauthorized` if it is not valid, or its session has ended."""
        caller = self.verify(token)
        await self.confirm(caller)
        return caller

    async def confirm(self, caller: Caller) -> None:
        """Raises `Unauthorized` if the caller's session has ended."""
        if caller.scope:
            row = await self._database.row("sessions.is_service_live", caller.session_id, caller.scope)
        else:
            row = await self._database.row("sessions.is_live", caller.user_id, caller.session_id)
        if row is None:
            log.info("token refused: session is over", extra={"session_id": caller.session_id})
            raise Unauthorized("This token is no longer valid.")

    def verify(self, token: str) -> Caller:
        """Return the caller of a token, all checked but its session. Raises `Unauthorized` if anything is wrong with it."""
        caller = self._known.get(token)
        if caller is None:
            caller = self._decode(token)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[token] = caller
        if caller.seconds_left <= 0:
            raise Unauthorized
        return caller

    def _decode(self, token: str) -> Caller:
        if not token or not token.isascii():
            raise Unauthorized
        for secret in self._secrets:
            try:
                claims = jwt.decode(
                    token,
                    secret,
                    algorithms=[ALGORITHM],
                    audience=AUDIENCE,
                    issuer=ISSUER,
                    # This library applies it to the end too; `verify` checks the end exactly.
                    leeway=LEEWAY_SECONDS,
                    options={"require": list(REQUIRED), "strict_aud": True},
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, RecursionError) as error:
                log.info("token refused", extra={"reason": type(error).__name__})
                raise Unauthorized from None
            return _caller(claims)
        log.info("token refused", extra={"reason": "signed with an unknown secret"})
        raise Unauthorized


TOKENS: Final[web.AppKey[Tokens]] = web.AppKey("tokens")


def _caller(claims: dict[str, Any]) -> Caller:
    scope, subject, session_id = claims.get("scope", ""), claims["sub"], claims["jti"]
    if not all(isinstance(claim, str) for claim in (scope, subject, session_id)) or not is_id(session_id):
        raise Unauthorized
    if subject != scope if scope else not is_id(subject):
        raise Unauthorized
    return Caller(subject if not scope else str(uuid.UUID(int=0)), session_id, float(claims["exp"]), scope)
