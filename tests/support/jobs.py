"""The jobs of an account, as tests see and hurry them."""

import asyncpg

from tests.support.people import Person
from tests.support.waiting import until


async def come_now(sql: asyncpg.Connection, user: Person) -> None:
    """Have the jobs of an account come that wait for their time."""
    await sql.execute("UPDATE jobs SET due = now() WHERE user_id = $1", user.id)
    await sql.execute("UPDATE lanes SET due = now() WHERE user_id = $1", user.id)
    await sql.execute("SELECT pg_notify('fw_outbox', 'mail')")


async def waits(sql: asyncpg.Connection, user: Person, attempts: int) -> float:
    """Wait until a job of an account was tried so often, and return for how many seconds it waits."""
    query = (
        "SELECT extract(epoch FROM j.due - now())::float FROM jobs AS j JOIN lanes AS l USING (user_id, kind, key)"
        " WHERE j.user_id = $1 AND j.attempts = $2 AND j.due > now() AND l.lease IS NULL"
    )
    return await until(lambda: sql.fetchval(query, user.id, attempts), f"attempt {attempts} to be over")


async def ended(sql: asyncpg.Connection, user: Person) -> None:
    """Wait until an account has no jobs."""
    query = "SELECT NOT EXISTS (SELECT FROM jobs WHERE user_id = $1)"
    await until(lambda: sql.fetchval(query, user.id), "the jobs to end", seconds=20)
