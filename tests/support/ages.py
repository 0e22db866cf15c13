"""Rows that are older than they are."""

from datetime import timedelta

import asyncpg


async def grow_older(
    sql: asyncpg.Connection, table: str, column: str, user_id: str, by: timedelta, where: str = "true"
) -> None:
    """Have a user's rows come this much earlier. In UTC: Citus takes no expression that depends on the time zone."""
    await sql.execute(
        f"UPDATE {table} SET {column} = ({column} AT TIME ZONE 'UTC' - $2::interval) AT TIME ZONE 'UTC'"
        f" WHERE user_id = $1::text::uuid AND {where}",
        user_id,
        by,
    )
