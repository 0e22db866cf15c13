"""What lists in pages share, whose items come newest first: the query, and the answer."""

from collections.abc import Sequence
from typing import Any

from fw.database.pool import Row
from fw.web import paging
from fw.web.fields import After, Whole, says
from fw.web.schemas import Query


class Paged(Query):
    limit = Whole(1, 100, load_default=20, **says("Items of a page."))
    after = After(**says("The `next` of the page before."))


def page_of(rows: Sequence[Row], limit: int) -> dict[str, Any]:
    """Return a page of so many items; `rows` has one more if another page follows."""
    items = rows[:limit]
    return {"items": items, "next": paging.next_after(items[-1]["id"]) if len(rows) > len(items) else None}
