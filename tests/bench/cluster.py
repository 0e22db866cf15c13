"""One PostgreSQL for all candidates, with a database each, and what is stored in it before anything is measured."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psycopg

from fw.accounts.tokens import Tokens
from fw.config import Config
from fw.database.embedded import postgres
from fw.database.migrations import migrate
from fw.database.pool import Database
from fw.ids import new_id

SECRET: Final = "a secret of the benchmarks of 32 bytes and more"
SETTINGS: Final = ("fsync=on", "synchronous_commit=on", "full_page_writes=on", "max_connections=200", "max_wal_size=4GB")
"""Durable; and with room for the log, so that no checkpoint for want of it falls into one candidate's turn."""
STATEMENT_SECONDS: Final = 1800
"""Ten million items take some minutes."""
PEERS_SCHEMA: Final = Path(__file__).parent / "peers" / "schema.sql"

MESSAGE: Final = "The search is quick, but I would like to see dates in my own time zone."
METADATA: Final = '{"page": "/pricing", "rating": 5}'

# An item a second up to now: ids are UUIDv7 without their random bits, so that their order is the order of time.
ITEMS: Final = """
    SELECT s.user_id, s.place, s.n %% 3 > 0 AS is_read, to_timestamp(s.milliseconds / 1000.0) AS created_at,
        (lpad(to_hex(s.milliseconds), 12, '0') || '70008000' || lpad(to_hex(s.n), 12, '0'))::uuid AS id
    FROM (
        SELECT n, n / %(users)s + 1 AS place, (%(ids)s::uuid[])[n %% %(users)s + 1] AS user_id,
            (extract(epoch FROM date_trunc('second', now()))::bigint - %(items)s + n) * 1000 AS milliseconds
        FROM generate_series(0, %(items)s::bigint - 1) AS n
    ) AS s
    ORDER BY s.n
"""
FILL_FW: Final = f"""
    INSERT INTO feedback (user_id, id, cursor, created_cursor, created_at, is_read, ip_address, message, metadata)
    SELECT i.user_id, i.id, i.place, i.place, i.created_at, i.is_read, '127.0.0.0', %(message)s, %(metadata)s::json
    FROM ({ITEMS}) AS i
"""
COUNT_FW: Final = """
    UPDATE inboxes AS i
    SET cursor = c.total, total_count = c.total, unread_count = c.unread
    FROM (
        SELECT user_id, count(*) AS total, count(*) FILTER (WHERE NOT is_read) AS unread
        FROM feedback
        GROUP BY user_id
    ) AS c
    WHERE i.user_id = c.user_id
"""
FILL_PEERS: Final = f"""
    INSERT INTO feedback (user_id, id, message, created_at, is_read, ip_address, metadata)
    SELECT i.user_id, i.id, %(message)s, i.created_at, i.is_read, '127.0.0.0', %(metadata)s::jsonb
    FROM ({ITEMS}) AS i
"""


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody with an inbox and a token."""

    id: str
    username: str
    token: str

    def with_bad_token(self) -> "Account":
        return replace(self, token=self.token[:-3] + "AAA")


@dataclass(frozen=True, slots=True)
class Store:
    """A candidate's own database."""

    url: str
    is_fw: bool

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True, options=f"-c statement_timeout={STATEMENT_SECONDS}s")

    def make_accounts(self, count: int) -> list[Account]:
        """Make accounts with a session each, past the API: a registration would cost a bcrypt hash."""
        config = Config(database_url=self.url, jwt_secrets=(SECRET,))
        tokens = Tokens(config, Database(config))
        ids = [new_id() for _ in range(count)]
        tickets = [tokens.issue(user_id) for user_id in ids]
        accounts = [Account(ids[n], f"user{n}", tickets[n].token) for n in range(count)]
        with self.connect() as connection, connection.transaction(), connection.cursor() as cursor:
            if not self.is_fw:
                cursor.executemany("INSERT INTO users VALUES (%s, %s)", [(who.id, who.username) for who in accounts])
                return accounts
            cursor.executemany(
                "INSERT INTO users (id, email, email_key, username, hashed_password) VALUES (%s, %s, %s, %s, '')",
                [(who.id, *[f"{who.username}@example.com"] * 2, who.username) for who in accounts],
            )
            cursor.executemany("INSERT INTO inboxes (user_id) VALUES (%s)", [(user_id,) for user_id in ids])
            cursor.executemany(
                "INSERT INTO sessions (user_id, id, expires_at) VALUES (%s, %s, %s)",
                [(who.id, ticket.session_id, ticket.expires_at) for who, ticket in zip(accounts, tickets, strict=True)],
            )
        return accounts

    def fill(self, accounts: Sequence[Account], items: int) -> None:
        """Store items, spread evenly over the inboxes, every third of them unread."""
        values = {
            "ids": [who.id for who in accounts],
            "users": len(accounts),
            "items": items,
            "message": MESSAGE,
            "metadata": METADATA,
        }
        with self.connect() as connection:
            connection.execute(FILL_FW if self.is_fw else FILL_PEERS, values)
            if self.is_fw:
                connection.execute(COUNT_FW)
            # What would otherwise come over a measurement of its own accord, some time after so many rows.
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    def count(self) -> int:
        with self.connect() as connection:
            row = connection.execute("SELECT count(*) FROM feedback").fetchone()
        return int(row[0]) if row else 0


class Cluster:
    """The server that is measured with."""

    def __init__(self, url: str) -> None:
        self.url = url

    def version(self) -> str:
        with psycopg.connect(self.url) as connection:
            return str(connection.info.parameter_status("server_version"))

    @contextmanager
    def store(self, name: str, *, is_fw: bool) -> Iterator[Store]:
        """Make a database with its tables, and drop it at the end: its pages are not to crowd out those of the next."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            parts = urlsplit(self.url)
            store = Store(f"postgresql://{parts.netloc}/{name}?{parts.query}", is_fw)
            try:
                if is_fw:
                    migrate(Config(database_url=store.url))
                else:
                    with store.connect() as own:
                        own.execute(PEERS_SCHEMA.read_text(encoding="utf-8"))
                yield store
            finally:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def run_cluster(folder: Path) -> Iterator[Cluster]:
    with postgres(folder, *SETTINGS) as url:
        yield Cluster(url)
