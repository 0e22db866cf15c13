"""FastAPI on uvicorn with asyncpg as its users write it: a model, a pool with its defaults, one INSERT a submission."""

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import asyncpg
import jwt
from fastapi import Depends, FastAPI, Header, HTTPException, Request

from tests.bench.peers.models import Item, Page, Stored, Submission
from tests.bench.peers.serving import PAGE, POOL, database_url, run_asgi, user_of

INSERT: Final = """
    INSERT INTO feedback (user_id, id, message, created_at, ip_address, metadata)
    SELECT u.id, $2, $3, $4, $5::text::inet, $6
    FROM users AS u
    WHERE u.username = $1
    RETURNING id, created_at
"""
NEWEST: Final = """
    SELECT f.id, f.user_id, f.message, f.created_at, f.is_read, host(f.ip_address) AS ip_address, f.metadata
    FROM feedback AS f
    WHERE f.user_id = $1
    ORDER BY f.created_at DESC
    LIMIT $2
"""
COUNTS: Final = """
    SELECT count(*) AS total, count(*) FILTER (WHERE NOT f.is_read) AS unread
    FROM feedback AS f
    WHERE f.user_id = $1
"""


async def set_codec(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(database_url(), min_size=POOL, max_size=POOL, init=set_codec) as app.state.pool:
        yield


app = FastAPI(lifespan=lifespan)


def pool(request: Request) -> Any:
    return request.app.state.pool


def current_user(authorization: Annotated[str, Header()]) -> uuid.UUID:
    try:
        return uuid.UUID(user_of(authorization))
    except jwt.PyJWTError:
        raise HTTPException(401) from None


@app.post("/api/feedback/{username}", status_code=201)
async def submit(username: str, submission: Submission, request: Request, database: Annotated[Any, Depends(pool)]) -> Stored:
    row = await database.fetchrow(
        INSERT,
        username,
        uuid.uuid4(),
        submission.message,
        datetime.now(UTC),
        request.client.host if request.client else None,
        submission.metadata,
    )
    if row is None:
        raise HTTPException(404)
    return Stored(id=row["id"], created_at=row["created_at"])


@app.get("/api/feedback")
async def list_inbox(user_id: Annotated[uuid.UUID, Depends(current_user)], database: Annotated[Any, Depends(pool)]) -> Page:
    async with database.acquire() as connection:
        rows = await connection.fetch(NEWEST, user_id, PAGE)
        counts = await connection.fetchrow(COUNTS, user_id)
    return Page(items=[Item(**row) for row in rows], unread_count=counts["unread"], total_count=counts["total"])


if __name__ == "__main__":
    run_asgi(app)
