"""Ids: UUID version 7 (RFC 9562) as text. They sort by time, so a range of times is a range of ids."""

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import getrandbits
from typing import Final

PATTERN: Final = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
LOWEST: Final = "00000000-0000-0000-0000-000000000000"
HIGHEST: Final = "ffffffff-ffff-ffff-ffff-ffffffffffff"
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> str:
    """Make an id: 48 bits of milliseconds, 12 bits of their fraction (RFC 9562, 6.2, method 3), 62 random bits.

    An id is no secret: to know one allows nothing. So its random bits come from Python's generator, which is seeded in every
    process, and not from the system, whose call takes a twentieth of a whole request.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    return _text(milliseconds << 80 | 0x7000 << 64 | fraction << 64 | 0x8000_0000_0000_0000 | getrandbits(62))


def created_at(uuid: str) -> datetime:
    """Return when the id was made, to the millisecond."""
    return _moment(uuid[:13])


@lru_cache(1024)
def _moment(prefix: str) -> datetime:
    return EPOCH + timedelta(milliseconds=int(prefix.replace("-", ""), 16))


def millisecond_of(moment: datetime) -> datetime:
    """Return the beginning of the millisecond in which a moment lies."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def just_before(moment: datetime) -> str:
    """Return an id that is below all ids made at `moment` or later, and above all made in an earlier millisecond."""
    milliseconds = -((EPOCH - moment) // timedelta(milliseconds=1))
    return _text(milliseconds << 80) if milliseconds > 0 else LOWEST


def _text(number: int) -> str:
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_id(text: str) -> bool:
    """Tell whether the text is a UUID in its usual form. Others must not reach the database, which refuses them."""
    return PATTERN.fullmatch(text) is not None
