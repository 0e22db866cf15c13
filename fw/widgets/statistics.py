"""A widget's statistics: submissions, ratings, views and opens, day by day in any time zone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from aiohttp import web
from marshmallow import fields

from fw.accounts.tokens import CALLER
from fw.database.pool import DATABASE, Database, Row
from fw.errors import Invalid, NotFound, PremiumRequired
from fw.ids import just_before
from fw.inbox.searches import SEARCHES
from fw.web.answers import Count, Share
from fw.web.fields import Day, Zone, says
from fw.web.operation import Answer, operation
from fw.web.request import read_query
from fw.web.response import reply
from fw.web.schemas import Output, Query
from fw.widgets.counters import COUNTERS
from fw.widgets.widget import find_widget

FREE_DAYS: Final = 30
PREMIUM_DAYS: Final = 365
USUAL_DAYS: Final = 30


class DayStats(Output):
    component = "DayStats"
    date = fields.Date(required=True)
    views = Count()
    opens = Count()
    submissions = Count()


class StatsTotals(Output):
    component = "StatsTotals"
    views = Count()
    opens = Count()
    submissions = Count()
    open_rate = Share()
    submission_rate = Share()
    average_rating = Share()
    nps = Share()


class Stats(Output):
    component = "Stats"
    widget_id = fields.UUID(required=True)
    from_ = fields.Date(required=True, data_key="from")
    to = fields.Date(required=True)
    tz = fields.String(required=True)
    totals = fields.Nested(StatsTotals, required=True)
    ratings = fields.Dict(
        keys=fields.String(), values=fields.Integer(), required=True, **says("How often each rating was given, to the tenth.")
    )
    daily = fields.List(fields.Nested(DayStats), required=True)


class StatsQuery(Query):
    from_ = Day(data_key="from", **says("The first day; without it, 30 days up to the last."))
    to = Day(**says("The last day; without it, today."))
    tz = Zone(load_default=ZoneInfo("UTC"), **says("The time zone of the days, by its IANA name."))


async def report(
    database: Database, user_id: str, widget: Row, first: date | None, last: date | None, zone: ZoneInfo
) -> dict[str, Any]:
    """Return the statistics from `first` to `last`, both included, by default 30 days. Raises `Invalid`, `PremiumRequired`."""
    days = choose_days(first, last, datetime.now(zone).date(), is_premium=widget["is_premium"])
    starts = [start_of_day(day, zone) for day in [*days, days[-1] + timedelta(days=1)]]
    span = just_before(starts[0]), just_before(starts[-1])
    counted = await database.rows("widgets.daily", user_id, widget["id"], starts, *span)
    ratings = await database.rows("widgets.ratings", user_id, widget["id"], *span)
    by_place = {row["place"]: row for row in counted}
    daily = [day_of(day, by_place.get(place)) for place, day in enumerate(days, 1)]
    return {
        "widget_id": widget["id"],
        "from": days[0],
        "to": days[-1],
        "tz": zone.key,
        "totals": totals(daily, ratings, widget["type"]),
        "ratings": {digits(row["rating"]): row["count"] for row in ratings},
        "daily": daily,
    }


def choose_days(first: date | None, last: date | None, today: date, *, is_premium: bool) -> Sequence[date]:
    """Return the days of a report. Raises `Invalid`, or `PremiumRequired` if they go further back than the free plan shows."""
    oldest = today - timedelta(days=(PREMIUM_DAYS if is_premium else FREE_DAYS) - 1)
    for name, day in (("from", first), ("to", last)):
        # In time zones further east it may already be tomorrow.
        if day and day > today + timedelta(days=1):
            raise Invalid(errors={name: ["Must not lie in the future."]})
    last = last or max(today, first or today)
    if first is None:
        first = max(oldest, last - timedelta(days=USUAL_DAYS - 1)) if last > oldest else last
    if first > last:
        raise Invalid(errors={"from": ["Must not be after 'to'."]})
    if first < oldest and is_premium:
        raise Invalid(errors={"from": [f"Must be within the last {PREMIUM_DAYS} days."]})
    if first < oldest:
        raise PremiumRequired(f"A free account sees the last {FREE_DAYS} days, a premium one {PREMIUM_DAYS}.")
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def start_of_day(day: date, zone: ZoneInfo) -> datetime:
    """Return the moment at which a day begins; if the clocks skip midnight, its first moment."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def day_of(day: date, row: Row | None) -> dict[str, Any]:
    names = ("views", "opens", "submissions")
    return {"date": day, **{name: row[name] if row else 0 for name in names}}


def totals(daily: Sequence[Mapping[str, Any]], ratings: Sequence[Row], widget_type: str) -> dict[str, Any]:
    views, opens, submissions = (sum(day[name] for day in daily) for name in ("views", "opens", "submissions"))
    count = sum(row["count"] for row in ratings)
    return {
        "views": views,
        "opens": opens,
        "submissions": submissions,
        "open_rate": opens / views if views else None,
        "submission_rate": submissions / views if views else None,
        "average_rating": sum(row["sum"] for row in ratings) / count if count else None,
        "nps": net_promoter_score(ratings) if widget_type == "nps" and count else None,
    }


def digits(rating: Decimal) -> str:
    """Return a rating as text: 4, 4.5."""
    return f"{rating:f}".removesuffix(".0")


def net_promoter_score(ratings: Sequence[Row]) -> float:
    """Return the percentage of promoters (9, 10) less that of detractors (0 to 6), from -100 to 100."""
    count = sum(row["count"] for row in ratings)
    promoters = sum(row["count"] for row in ratings if row["rating"] >= 9)
    detractors = sum(row["count"] for row in ratings if row["rating"] <= 6)
    return float(100 * (promoters - detractors) / count)


@operation("widgets_stats", Answer(200, Stats()), query=StatsQuery(), refuses=(NotFound, PremiumRequired))
async def stats(request: web.Request) -> web.Response:
    """Show a widget's numbers, day by day."""
    wanted = read_query(request)
    user_id = request[CALLER].user_id
    widget = await find_widget(request, "widgets.owned", user_id)
    await request.app[COUNTERS].flush()
    # It adds up all feedback of the widget.
    async with request.app[SEARCHES].place(user_id):
        told = await report(request.app[DATABASE], user_id, widget, wanted.get("from_"), wanted.get("to"), wanted["tz"])
    return reply(told)
