"""Which constraint a statement broke, on PostgreSQL and on Citus."""

import asyncpg
import pytest

from fw.database.pool import constraint_of


async def test_reads_the_name_that_postgresql_tells(sql: asyncpg.Connection) -> None:
    await sql.execute("CREATE TEMP TABLE named (id integer CONSTRAINT named_id_key_1 UNIQUE)")
    with pytest.raises(asyncpg.UniqueViolationError) as raised:
        await sql.execute("INSERT INTO named VALUES (1), (1)")
    assert constraint_of(raised.value) == "named_id_key_1"


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ('duplicate key value violates unique constraint "users_username_key_102008"', "users_username_key"),
        ('duplicate key value violates unique constraint "users_username_key"', "users_username_key"),
        ("division by zero", ""),
    ],
)
def test_reads_the_name_out_of_the_message_without_the_shard(message: str, name: str) -> None:
    assert constraint_of(asyncpg.PostgresError.new({"S": "ERROR", "C": "23505", "M": message})) == name
