"""When hours and days end, in any zone and across its clock changes."""

import logging
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fw.outbox.digests import DAILY, HOURLY, period_end, zone_of

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu", "Africa/Monrovia")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        ("2026-06-01T05:59:59Z", "2026-06-01T06:00:00Z"),
        ("2026-06-01T06:00:00Z", "2026-06-02T06:00:00Z"),
        # The clocks are put on at 1:00 UTC, and back at 1:00 UTC: that day has 23 hours, and 25.
        ("2026-03-28T08:00:00Z", "2026-03-29T06:00:00Z"),
        ("2026-10-24T07:00:00Z", "2026-10-25T07:00:00Z"),
        ("2026-10-25T00:30:00Z", "2026-10-25T07:00:00Z"),
    ],
)
def test_a_day_ends_at_eight_of_the_clock_on_the_wall(moment: str, end: str) -> None:
    assert period_end(DAILY, at(moment), BERLIN) == at(end)


@pytest.mark.parametrize(
    ("zone", "moment", "end"),
    [
        ("Europe/Berlin", "2026-06-01T05:59:59.5Z", "2026-06-01T06:00:00Z"),
        ("Europe/Berlin", "2026-06-01T06:00:00Z", "2026-06-01T07:00:00Z"),
        ("Asia/Kathmandu", "2026-06-01T06:00:00Z", "2026-06-01T06:15:00Z"),
        # The hour from two to three comes twice, and each of them ends.
        ("Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z"),
        ("Europe/Berlin", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"),
        ("Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
    ],
)
def test_an_hour_ends_when_it_is_full(zone: str, moment: str, end: str) -> None:
    assert period_end(HOURLY, at(moment), ZoneInfo(zone)) == at(end)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2037, 1, 1)), st.sampled_from(ZONES))
def test_every_period_ends_later_and_in_time(moment: datetime, zone: str) -> None:
    moment = moment.replace(tzinfo=UTC)
    assert timedelta() < period_end(HOURLY, moment, ZoneInfo(zone)) - moment <= timedelta(hours=1)
    end = period_end(DAILY, moment, ZoneInfo(zone))
    # A day that the zone has left out (Samoa, 2011) makes the one before it longer.
    assert timedelta() < end - moment <= timedelta(hours=49)
    assert end.astimezone(ZoneInfo(zone)).hour == 8


def test_a_zone_that_is_no_more_is_utc(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for name in ("Mars/Olympus", "../../etc/passwd", "", "x" * 300, "Europe"):
        assert zone_of(name) == ZoneInfo("UTC")
    assert len(caplog.records) == 5
