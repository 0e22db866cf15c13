"""What the FastAPI peers take and answer."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Submission(BaseModel):
    model_config = ConfigDict(extra="forbid")

    message: str = Field(min_length=1, max_length=5000)
    metadata: dict[str, Any] | None = None


class Stored(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    created_at: datetime


class Item(Stored):
    user_id: UUID
    message: str
    is_read: bool
    ip_address: str | None
    metadata: dict[str, Any] | None


class Page(BaseModel):
    items: list[Item]
    unread_count: int
    total_count: int
