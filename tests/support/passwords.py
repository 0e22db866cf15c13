"""Changes and resets of a password."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any

import asyncpg

from tests.support.people import Person

CHANGE = "/api/auth/password"
RESET = "/api/auth/reset"
LOGIN = "/api/auth/login"
NEW = "an entirely new one"


async def offer_reset(sql: asyncpg.Connection, user: Person, life: timedelta = timedelta(minutes=30)) -> str:
    """Make a reset token, kept as `fw user reset` keeps it."""
    token = secrets.token_urlsafe(32)
    await sql.execute(
        "INSERT INTO password_resets (user_id, token_hash, expires_at, email_key)"
        " SELECT u.id, $2, now() + $3::interval, u.email_key FROM users AS u WHERE u.id = $1",
        user.id,
        hashlib.sha256(token.encode()).digest(),
        life,
    )
    return token


async def change(user: Person, current: Any, new: Any) -> Any:
    return await user.post(CHANGE, json={"current_password": current, "new_password": new})
