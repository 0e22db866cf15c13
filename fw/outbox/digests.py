"""When a digest is due: at the full hour, or at 8 in the morning, where its owner lives."""

import logging
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

log = logging.getLogger("fw.mail")

MORNING: Final = time(8)
HOURLY: Final = "hourly"
DAILY: Final = "daily"


def zone_of(name: str) -> ZoneInfo:
    """Return a time zone by its name; UTC if there is none of that name any more."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        log.warning("time zone is unknown, UTC is taken", extra={"timezone": name})
        return ZoneInfo("UTC")


def period_end(period: str, moment: datetime, zone: ZoneInfo) -> datetime:
    """Return when the hour or the day of a moment ends, in UTC; it is always later than the moment."""
    local = moment.astimezone(zone)
    if period == HOURLY:
        # Counted from the moment and not from the clock, which may be put back before the hour is over.
        passed = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        return moment.astimezone(UTC) + timedelta(hours=1) - passed
    for days in range(3):
        # In UTC, because the difference of two times of one zone does not know of its clock changes.
        end = datetime.combine(local.date() + timedelta(days=days), MORNING, zone).astimezone(UTC)
        if end > moment:
            return end
    raise AssertionError("there is a morning every day")
