"""GET /api/widgets/{id}/stats."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import pytest
from aiohttp.test_utils import TestClient

from fw.errors import Invalid, PremiumRequired
from fw.ids import EPOCH
from fw.widgets.statistics import choose_days, start_of_day, totals
from tests.conftest import MakeUser
from tests.support.people import Person, body, nothing, problem

DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)
QUARTER = timedelta(minutes=15)
TODAY = date(2026, 3, 15)


async def read(owner: Person, widget: Mapping[str, Any], **query: str | date) -> dict[str, Any]:
    params = {name.rstrip("_"): str(value) for name, value in query.items()}
    return await body(await owner.get(f"/api/widgets/{widget['id']}/stats", params=params))


async def refused(owner: Person, widget: Mapping[str, Any], status: int, slug: str, **query: str | date) -> dict[str, Any]:
    params = {name.rstrip("_"): str(value) for name, value in query.items()}
    return await problem(await owner.get(f"/api/widgets/{widget['id']}/stats", params=params), status, slug)


async def make_premium(sql: asyncpg.Connection, owner: Person) -> None:
    await sql.execute("UPDATE users SET is_premium = true WHERE id = $1", owner.id)


async def put_views(sql: asyncpg.Connection, widget: Mapping[str, Any], *moments: datetime) -> None:
    """Have a widget seen once at each moment, which is the beginning of a quarter of an hour."""
    await sql.executemany(
        "INSERT INTO widget_events (user_id, widget_id, quarter, views) VALUES ($1, $2, $3, 1)",
        [(widget["user_id"], widget["id"], moment) for moment in moments],
    )


async def put_feedback(
    sql: asyncpg.Connection, widget: Mapping[str, Any], *moments: datetime, metadata: str | None = None
) -> None:
    """Have feedback arrive through a widget at each moment."""
    for moment in moments:
        digits = f"{(moment - EPOCH) // MILLISECOND:012x}"
        # In its time, behind what is there already.
        await sql.execute("UPDATE inboxes SET last_id = DEFAULT WHERE user_id = $1", widget["user_id"])
        await sql.execute(
            "SELECT inbox_append($1, ARRAY[$2::uuid], ARRAY[$3::timestamptz], ARRAY[$4::uuid], ARRAY[NULL::inet], "
            "ARRAY['Hi'], ARRAY[$5::text]::json[], NULL, NULL)",
            widget["user_id"],
            f"{digits[:8]}-{digits[8:]}-7000-8000-{uuid4().hex[:12]}",
            moment,
            widget["id"],
            metadata,
        )


def by_day(report: Mapping[str, Any], name: str) -> dict[str, int]:
    """Return a report's days that are not zero."""
    return {day["date"]: day[name] for day in report["daily"] if day[name]}


def midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)


def find_day(hours: int) -> tuple[date, ZoneInfo]:
    """Find a day of the last year that had so many hours: in Berlin, or in Sydney where that day is today in Berlin."""
    for zone in (ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Sydney")):
        today = datetime.now(zone).date()
        for day in (today - n * DAY for n in range(1, 363)):
            if midnight(day + DAY, zone) - midnight(day, zone) == timedelta(hours=hours):
                return day, zone
    raise AssertionError(f"no day had {hours} hours")


# The days


async def test_reports_the_last_thirty_days_zeros_included(user: Person) -> None:
    widget = await user.make_widget()
    before = datetime.now(UTC).date()
    report = await read(user, widget)
    last = date.fromisoformat(report["to"])
    assert last in (before, datetime.now(UTC).date())
    days = [str(last - n * DAY) for n in range(29, -1, -1)]
    assert report == {
        "widget_id": widget["id"],
        "from": days[0],
        "to": days[-1],
        "tz": "UTC",
        "totals": {
            "views": 0,
            "opens": 0,
            "submissions": 0,
            "open_rate": None,
            "submission_rate": None,
            "average_rating": None,
            "nps": None,
        },
        "ratings": {},
        "daily": [{"date": day, "views": 0, "opens": 0, "submissions": 0} for day in days],
    }


async def test_reports_the_days_that_are_asked_for(user: Person, sql: asyncpg.Connection) -> None:
    widget = await user.make_widget()
    today = datetime.now(UTC).date()
    first, last = today - 9 * DAY, today - 7 * DAY
    inside = [midnight(first, UTC), midnight(last + DAY, UTC) - QUARTER]
    await put_views(sql, widget, *inside, midnight(first, UTC) - QUARTER, midnight(last + DAY, UTC))
    await put_feedback(sql, widget, *inside, midnight(first, UTC) - MILLISECOND, midnight(last + DAY, UTC))
    report = await read(user, widget, from_=first, to=last)
    assert [day["date"] for day in report["daily"]] == [str(first), str(first + DAY), str(last)]
    assert [day["views"] for day in report["daily"]] == [1, 0, 1]
    assert [day["submissions"] for day in report["daily"]] == [1, 0, 1]
    assert (report["from"], report["to"]) == (str(first), str(last))
    assert (report["totals"]["views"], report["totals"]["submissions"]) == (2, 2)


async def test_reports_one_day(user: Person) -> None:
    today = datetime.now(UTC).date()
    report = await read(user, await user.make_widget(), from_=today, to=today)
    assert [day["date"] for day in report["daily"]] == [str(today)]


async def test_reports_up_to_today_where_only_the_first_day_is_named(user: Person) -> None:
    first = datetime.now(UTC).date() - 3 * DAY
    report = await read(user, await user.make_widget(), from_=first)
    assert report["from"] == str(first)
    assert len(report["daily"]) in (4, 5)


@pytest.mark.parametrize("name", ["Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Niue"])
async def test_begins_a_day_where_it_begins_there(user: Person, sql: asyncpg.Connection, name: str) -> None:
    zone, widget = ZoneInfo(name), await user.make_widget()
    day = datetime.now(zone).date() - 5 * DAY
    begins, ends = midnight(day, zone), midnight(day + DAY, zone)
    await put_views(sql, widget, begins - QUARTER, begins, ends - QUARTER, ends)
    await put_feedback(sql, widget, begins - MILLISECOND, begins, ends - MILLISECOND, ends)
    report = await read(user, widget, tz=name)
    assert report["tz"] == name
    for counted in ("views", "submissions"):
        assert by_day(report, counted) == {str(day - DAY): 1, str(day): 2, str(day + DAY): 1}


@pytest.mark.parametrize("hours", [23, 25])
async def test_reports_days_on_which_clocks_change(user: Person, sql: asyncpg.Connection, hours: int) -> None:
    await make_premium(sql, user)
    widget = await user.make_widget()
    day, zone = find_day(hours)
    begins = midnight(day, zone)
    ends = begins + timedelta(hours=hours)
    await put_views(sql, widget, begins - QUARTER, begins, ends - QUARTER, ends)
    await put_feedback(sql, widget, begins - MILLISECOND, begins, ends - MILLISECOND, ends)
    report = await read(user, widget, from_=day - DAY, to=day + DAY, tz=zone.key)
    for counted in ("views", "submissions"):
        assert [entry[counted] for entry in report["daily"]] == [1, 2, 1]


async def test_counts_the_hour_that_comes_twice_twice(user: Person, sql: asyncpg.Connection) -> None:
    await make_premium(sql, user)
    widget = await user.make_widget()
    day, zone = find_day(25)
    first = datetime.combine(day, time(2, 30), zone).astimezone(UTC)
    await put_views(sql, widget, first, first + timedelta(hours=1))
    await put_feedback(sql, widget, first, first + timedelta(hours=1))
    report = await read(user, widget, from_=day, to=day, tz=zone.key)
    assert report["daily"] == [{"date": str(day), "views": 2, "opens": 0, "submissions": 2}]


# The numbers


async def test_counts_what_happens_now(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(type="rating")
    for event in ("view", "view", "view", "view", "open"):
        await nothing(await client.post(f"/api/widgets/{widget['id']}/events", json={"event": event}))
    for rating in (5, 5, 2):
        await body(await client.post(f"/api/widgets/{widget['id']}/feedback", json={"rating": rating}), 201)
    report = await read(user, widget)
    assert report["totals"] == {
        "views": 4,
        "opens": 1,
        "submissions": 3,
        "open_rate": 0.25,
        "submission_rate": 0.75,
        "average_rating": 4.0,
        "nps": None,
    }
    assert report["ratings"] == {"5": 2, "2": 1}
    for name in ("views", "opens", "submissions"):
        assert sum(day[name] for day in report["daily"]) == report["totals"][name]


async def test_tells_the_net_promoter_score(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(type="nps")
    for rating in (10, 9, 9, 8, 7, 6, 0):
        await body(await client.post(f"/api/widgets/{widget['id']}/feedback", json={"rating": rating}), 201)
    report = await read(user, widget)
    assert report["totals"]["nps"] == pytest.approx(100 * (3 - 2) / 7)
    assert report["totals"]["average_rating"] == pytest.approx(49 / 7)
    assert report["ratings"] == {"10": 1, "9": 2, "8": 1, "7": 1, "6": 1, "0": 1}


async def test_has_no_rates_where_nobody_looked(user: Person, sql: asyncpg.Connection) -> None:
    widget = await user.make_widget()
    await put_feedback(sql, widget, datetime.now(UTC) - timedelta(hours=1))
    found = (await read(user, widget))["totals"]
    assert (found["submissions"], found["views"]) == (1, 0)
    assert [found[name] for name in ("open_rate", "submission_rate", "average_rating", "nps")] == [None] * 4


async def test_counts_the_ratings_of_the_days_that_are_asked_for(user: Person, sql: asyncpg.Connection) -> None:
    widget = await user.make_widget(type="rating")
    now = datetime.now(UTC)
    await put_feedback(sql, widget, now - 5 * DAY, metadata='{"rating": 1}')
    await put_feedback(sql, widget, now - 2 * DAY, metadata='{"rating": 4}')
    report = await read(user, widget, from_=(now - 3 * DAY).date())
    assert (report["ratings"], report["totals"]["average_rating"]) == ({"4": 1}, 4.0)


async def test_forgets_what_is_deleted(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(type="rating")
    path = f"/api/widgets/{widget['id']}/feedback"
    kept, gone = [(await body(await client.post(path, json={"rating": n}), 201))["id"] for n in (5, 1)]
    await nothing(await user.delete(f"/api/feedback/{gone}"))
    report = await read(user, widget)
    assert (report["totals"]["submissions"], report["ratings"]) == (1, {"5": 1})
    await nothing(await user.delete(f"/api/feedback/{kept}"))
    assert (await read(user, widget))["totals"]["average_rating"] is None


async def test_counts_each_widget_for_itself(client: TestClient, user: Person) -> None:
    widgets = [await user.make_widget(), await user.make_widget()]
    await user.receive("By name")
    await body(await client.post(f"/api/widgets/{widgets[0]['id']}/feedback", json={"message": "Hi"}), 201)
    await nothing(await client.post(f"/api/widgets/{widgets[0]['id']}/events", json={"event": "view"}))
    found = [(await read(user, widget))["totals"] for widget in widgets]
    assert [(each["views"], each["submissions"]) for each in found] == [(1, 1), (0, 0)]


async def test_counts_ratings_to_the_tenth_and_averages_them_exactly(client: TestClient, user: Person) -> None:
    """Else a page could fill an answer with as many ratings as doubles have values, of hundreds of digits each."""
    path = f"/api/widgets/{(widget := await user.make_widget())['id']}/feedback"
    ratings = (4.5, 4.12345671, 4.12345672, 1.2345678901234567e-300, 9.96)
    for rating in ratings:
        await body(await client.post(path, json={"message": "Hi", "metadata": {"rating": rating}}), 201)
    report = await read(user, widget)
    assert report["ratings"] == {"10": 1, "4.5": 1, "4.1": 2, "0": 1}
    assert report["totals"]["average_rating"] == pytest.approx(sum(ratings) / len(ratings))


async def test_counts_no_rating_that_was_stored_before_there_were_bounds(user: Person, sql: asyncpg.Connection) -> None:
    widget = await user.make_widget()
    old = ("1e300", "-1", "10.5", "-1e308", "1" + "0" * 400, "-1" + "0" * 400)
    for metadata in (*(f'{{"rating": {rating}}}' for rating in (*old, "0", "10")), '{"rating": "5"}', '{"rating": null}'):
        await put_feedback(sql, widget, datetime.now(UTC), metadata=metadata)
    report = await read(user, widget)
    assert (report["totals"]["submissions"], report["totals"]["average_rating"]) == (10, 5.0)
    assert report["ratings"] == {"10": 1, "0": 1}


# What is refused


async def test_is_for_the_owner_alone(user: Person, make_user: MakeUser) -> None:
    widget, other = await user.make_widget(), await make_user()
    await refused(other, widget, 404, "not-found")
    for wrong in (uuid4(), "corner", "%00"):
        await refused(user, {"id": wrong}, 404, "not-found")


async def test_is_gone_with_its_widget(user: Person) -> None:
    widget = await user.make_widget()
    await nothing(await user.delete(f"/api/widgets/{widget['id']}"))
    await refused(user, widget, 404, "not-found")


async def test_is_there_for_a_widget_that_is_inactive(user: Person) -> None:
    assert len((await read(user, await user.make_widget(is_active=False)))["daily"]) == 30


async def test_shows_a_free_account_thirty_days(user: Person) -> None:
    widget = await user.make_widget()
    today = datetime.now(UTC).date()
    assert len((await read(user, widget, from_=today - 28 * DAY, to=today))["daily"]) == 29
    await refused(user, widget, 403, "premium-required", from_=today - 31 * DAY)
    await refused(user, widget, 403, "premium-required", from_=today - 90 * DAY, to=today - 60 * DAY)


async def test_shows_a_premium_account_a_year(user: Person, sql: asyncpg.Connection) -> None:
    await make_premium(sql, user)
    widget = await user.make_widget()
    today = datetime.now(UTC).date()
    long_ago = midnight(today - 360 * DAY, UTC)
    await put_views(sql, widget, long_ago)
    await put_feedback(sql, widget, long_ago)
    report = await read(user, widget, from_=today - 363 * DAY, to=today)
    assert len(report["daily"]) == 364
    assert by_day(report, "views") == by_day(report, "submissions") == {str(today - 360 * DAY): 1}
    found = await refused(user, widget, 422, "invalid", from_=today - 366 * DAY, to=today)
    assert found["errors"].keys() == {"from"}


async def test_shows_a_premium_account_thirty_days_unless_it_asks(user: Person, sql: asyncpg.Connection) -> None:
    await make_premium(sql, user)
    assert len((await read(user, await user.make_widget()))["daily"]) == 30


async def test_refuses_days_in_the_wrong_order(user: Person) -> None:
    today = datetime.now(UTC).date()
    found = await refused(user, await user.make_widget(), 422, "invalid", from_=today - DAY, to=today - 2 * DAY)
    assert found["errors"].keys() == {"from"}


async def test_refuses_days_to_come(user: Person) -> None:
    widget, today = await user.make_widget(), datetime.now(UTC).date()
    for day in (today + 3 * DAY, today + 400 * DAY, date.max):
        found = await refused(user, widget, 422, "invalid", to=day)
        assert found["errors"].keys() == {"to"}
        await refused(user, widget, 422, "invalid", from_=day)
        await refused(user, widget, 422, "invalid", from_=day, to=day)


@pytest.mark.parametrize("name", ["from", "to"])
async def test_refuses_what_is_no_day(user: Person, name: str) -> None:
    widget = await user.make_widget()
    bad = (
        "2026-02-30",
        "2026-13-01",
        "0000-01-01",
        "2026-1-1",
        "20260101",
        "2026-W01-1",
        "2026-01-01T00:00:00Z",
        "now",
        "",
        "٢٠٢٦-٠١-٠١",
    )
    for day in (*bad, "-001-01-01", "10000-01-01", "2026-01-01\n", "\0"):
        found = await refused(user, widget, 422, "invalid", **{name: day})
        assert found["errors"].keys() == {name}, day


@pytest.mark.parametrize("tz", ["UTC", "Pacific/Kiritimati", "Pacific/Niue", "Asia/Kolkata", "Africa/Monrovia"])
async def test_refuses_the_first_and_the_last_of_all_days(user: Person, sql: asyncpg.Connection, tz: str) -> None:
    await make_premium(sql, user)
    widget = await user.make_widget()
    for first, last in (("0001-01-01", "0001-01-01"), ("0001-01-01", "9999-12-31"), ("9999-12-31", "9999-12-31")):
        await refused(user, widget, 422, "invalid", from_=first, to=last, tz=tz)
        await refused(user, widget, 422, "invalid", from_=first, tz=tz)
        await refused(user, widget, 422, "invalid", to=last, tz=tz)


async def test_refuses_what_is_no_time_zone(user: Person) -> None:
    widget = await user.make_widget()
    for tz in (
        "Mars/Olympus",
        "berlin",
        "europe/berlin",
        "+02:00",
        "",
        "../../etc/passwd",
        "/etc/localtime",
        "\0",
        "Europe",
        "ä",
    ):
        found = await refused(user, widget, 422, "invalid", tz=tz)
        assert found["errors"].keys() == {"tz"}, tz


# The reckoning


def days_of(first: date | None, last: date | None, *, is_premium: bool = False) -> tuple[date, date, int]:
    days = choose_days(first, last, TODAY, is_premium=is_premium)
    return days[0], days[-1], len(days)


def test_chooses_thirty_days_that_end_today() -> None:
    for is_premium in (False, True):
        assert days_of(None, None, is_premium=is_premium) == (date(2026, 2, 14), TODAY, 30)


def test_chooses_exactly_what_the_plan_shows() -> None:
    assert days_of(TODAY - 29 * DAY, None) == (TODAY - 29 * DAY, TODAY, 30)
    assert days_of(TODAY - 364 * DAY, None, is_premium=True) == (TODAY - 364 * DAY, TODAY, 365)
    with pytest.raises(PremiumRequired):
        choose_days(TODAY - 30 * DAY, None, TODAY, is_premium=False)
    with pytest.raises(Invalid) as caught:
        choose_days(TODAY - 365 * DAY, None, TODAY, is_premium=True)
    assert caught.value.errors is not None
    assert caught.value.errors.keys() == {"from"}


def test_chooses_the_thirty_days_that_end_with_the_last_as_far_as_the_plan_shows() -> None:
    assert days_of(None, TODAY - 10 * DAY) == (TODAY - 29 * DAY, TODAY - 10 * DAY, 20)
    assert days_of(None, TODAY - 29 * DAY) == (TODAY - 29 * DAY, TODAY - 29 * DAY, 1)
    assert days_of(None, TODAY - 10 * DAY, is_premium=True) == (TODAY - 39 * DAY, TODAY - 10 * DAY, 30)
    assert days_of(None, TODAY - 360 * DAY, is_premium=True) == (TODAY - 364 * DAY, TODAY - 360 * DAY, 5)
    with pytest.raises(PremiumRequired):
        choose_days(None, TODAY - 30 * DAY, TODAY, is_premium=False)


def test_chooses_no_days_in_the_wrong_order_or_to_come() -> None:
    for first, last in ((TODAY, TODAY - DAY), (None, TODAY + 2 * DAY), (TODAY + 2 * DAY, None), (date.max, date.max)):
        with pytest.raises(Invalid):
            choose_days(first, last, TODAY, is_premium=True)


def test_begins_days_where_clocks_skip_or_repeat_midnight() -> None:
    # Clocks in Beirut went from 0:00 to 1:00 on 31 March 2024, those in Havana from 1:00 to 0:00 on 3 November.
    assert start_of_day(date(2024, 3, 31), ZoneInfo("Asia/Beirut")) == datetime(2024, 3, 30, 22, tzinfo=UTC)
    assert start_of_day(date(2024, 11, 3), ZoneInfo("America/Havana")) == datetime(2024, 11, 3, 4, tzinfo=UTC)
    assert start_of_day(date(2024, 11, 4), ZoneInfo("America/Havana")) == datetime(2024, 11, 4, 5, tzinfo=UTC)


def counts(*numbers: tuple[int, int, int]) -> Sequence[Mapping[str, int]]:
    return [dict(zip(("views", "opens", "submissions"), day, strict=True)) for day in numbers]


def rated(numbers: Iterable[int]) -> Sequence[Mapping[str, float]]:
    return [{"rating": float(rating), "count": 1, "sum": float(rating)} for rating in numbers]


def test_adds_days_up() -> None:
    found = totals(counts((3, 1, 1), (0, 0, 0), (5, 1, 0)), [], "button")
    assert found == {
        "views": 8,
        "opens": 2,
        "submissions": 1,
        "open_rate": 0.25,
        "submission_rate": 0.125,
        "average_rating": None,
        "nps": None,
    }


def test_has_no_rates_where_there_is_nothing_to_divide_by() -> None:
    found = totals(counts((0, 2, 2)), [], "nps")
    assert [found[name] for name in ("open_rate", "submission_rate", "average_rating", "nps")] == [None] * 4


def test_weighs_ratings_by_their_number() -> None:
    found = totals(
        counts((0, 0, 4)), [{"rating": 5.0, "count": 3, "sum": 15.0}, {"rating": 1.0, "count": 1, "sum": 1.0}], "rating"
    )
    assert (found["average_rating"], found["nps"]) == (4.0, None)


@pytest.mark.parametrize(
    ("ratings", "nps"),
    [((9, 10), 100), ((0, 6), -100), ((7, 8), 0), ((10, 0), 0), ((10, 9, 8, 6), 25), (range(11), 100 * (2 - 7) / 11)],
)
def test_reckons_the_net_promoter_score(ratings: Iterable[int], nps: float) -> None:
    assert totals(counts((1, 1, 1)), rated(ratings), "nps")["nps"] == pytest.approx(nps)
