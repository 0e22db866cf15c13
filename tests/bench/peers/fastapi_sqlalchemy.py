"""The conventional stack: FastAPI with SQLAlchemy's ORM, a session a request in a thread, psycopg2.

A session is opened inside the endpoint: as a dependency it would hold its connection while it waits for one more thread,
and with many requests at once the threads would all wait for connections.
"""

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from sqlalchemy import DateTime, Index, create_engine, func, select
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from tests.bench.peers.models import Item, Page, Stored, Submission
from tests.bench.peers.serving import PAGE, POOL, database_url, run_asgi, user_of


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(unique=True)


class Feedback(Base):
    __tablename__ = "feedback"
    __table_args__ = (Index("feedback_newest_key", "user_id", "created_at"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID]
    message: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    is_read: Mapped[bool] = mapped_column(default=False)
    ip_address: Mapped[str | None] = mapped_column(INET)
    # "metadata" is a name of the declarative base's own.
    meta: Mapped[dict[str, Any] | None] = mapped_column("metadata", JSONB)


engine = create_engine(database_url().replace("postgresql://", "postgresql+psycopg2://", 1), pool_size=POOL)
make_session = sessionmaker(engine)
app = FastAPI()


def current_user(authorization: Annotated[str, Header()]) -> uuid.UUID:
    try:
        return uuid.UUID(user_of(authorization))
    except jwt.PyJWTError:
        raise HTTPException(401) from None


@app.post("/api/feedback/{username}", status_code=201)
def submit(username: str, submission: Submission, request: Request) -> Stored:
    with make_session() as database:
        user = database.scalars(select(User).where(User.username == username)).first()
        if user is None:
            raise HTTPException(404)
        address = request.client.host if request.client else None
        feedback = Feedback(user_id=user.id, message=submission.message, ip_address=address, meta=submission.metadata)
        database.add(feedback)
        database.commit()
        database.refresh(feedback)
        return Stored.model_validate(feedback)


@app.get("/api/feedback")
def list_inbox(user_id: Annotated[uuid.UUID, Depends(current_user)]) -> Page:
    own = Feedback.user_id == user_id
    with make_session() as database:
        found = database.scalars(select(Feedback).where(own).order_by(Feedback.created_at.desc()).limit(PAGE)).all()
        total = database.scalar(select(func.count()).select_from(Feedback).where(own))
        unread = database.scalar(select(func.count()).select_from(Feedback).where(own, Feedback.is_read.is_(False)))
        return Page(items=[item(feedback) for feedback in found], unread_count=unread or 0, total_count=total or 0)


def item(feedback: Feedback) -> Item:
    return Item(
        id=feedback.id,
        user_id=feedback.user_id,
        message=feedback.message,
        created_at=feedback.created_at,
        is_read=feedback.is_read,
        ip_address=feedback.ip_address,
        metadata=feedback.meta,
    )


if __name__ == "__main__":
    run_asgi(app)
