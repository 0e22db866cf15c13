"""Ids: UUID version 7, whose order is the order of time."""

import string
import time
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fw.ids import EPOCH, HIGHEST, LOWEST, created_at, is_id, just_before, new_id

MILLISECOND = timedelta(milliseconds=1)
MOMENTS = st.datetimes(
    min_value=datetime(1970, 1, 2),
    max_value=datetime(9999, 12, 30),
    timezones=st.sampled_from((UTC, timezone(timedelta(hours=-11)))),
)


def id_at(nanoseconds: int) -> str:
    """Make an id at this time since 1970."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fw.ids.time", SimpleNamespace(time_ns=lambda: nanoseconds))
        return new_id()


def whole(moment: datetime) -> datetime:
    """Cut a moment down to its millisecond."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def test_is_a_uuid_of_version_7() -> None:
    for _ in range(100):
        made = UUID(new_id())
        assert (made.version, made.variant) == (7, RFC_4122)


def test_is_in_its_usual_form() -> None:
    made = new_id()
    assert made == str(UUID(made))
    assert is_id(made)


def test_is_never_the_same() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000
    assert len({id_at(1_700_000_000_000_000_000) for _ in range(1000)}) == 1000


def test_tells_when_it_was_made() -> None:
    before = time.time_ns() // 1_000_000
    made = created_at(new_id())
    after = time.time_ns() // 1_000_000
    assert EPOCH + before * MILLISECOND <= made <= EPOCH + after * MILLISECOND
    assert made.tzinfo is UTC


@given(moment=MOMENTS, rest=st.integers(0, 999))
def test_tells_when_it_was_made_to_the_millisecond(moment: datetime, rest: int) -> None:
    assert created_at(id_at(nanoseconds(moment) + rest)) == whole(moment)


@given(moment=MOMENTS, step=st.integers(1000, 10**15))
def test_sorts_by_time_within_a_millisecond_too(moment: datetime, step: int) -> None:
    # Its fraction of a millisecond has 12 bits, so a microsecond is always told from the next.
    assert id_at(nanoseconds(moment)) < id_at(nanoseconds(moment) + step)


@given(moment=MOMENTS)
def test_just_before_is_below_what_is_made_then_and_above_what_was_made_earlier(moment: datetime) -> None:
    bound, then = just_before(moment), nanoseconds(moment)
    first = then if moment == whole(moment) else nanoseconds(whole(moment) + MILLISECOND)
    assert bound < id_at(first)
    assert bound < id_at(first + 10**9)
    assert id_at(first - 1) < bound
    assert id_at(first - 10**9) < bound


@given(moment=MOMENTS)
def test_just_before_is_an_id(moment: datetime) -> None:
    assert is_id(just_before(moment))
    assert LOWEST < just_before(moment) < HIGHEST


@given(moment=st.datetimes(max_value=datetime(1970, 1, 1), timezones=st.just(UTC)))
def test_just_before_1970_is_the_lowest(moment: datetime) -> None:
    assert just_before(moment) == LOWEST


def test_all_ids_lie_between_the_lowest_and_the_highest() -> None:
    assert LOWEST < id_at(0) < new_id() < id_at(nanoseconds(datetime(9999, 12, 31, tzinfo=UTC))) < HIGHEST


@given(number=st.uuids())
def test_takes_every_uuid_in_any_case(number: UUID) -> None:
    assert is_id(str(number))
    assert is_id(str(number).upper())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        uuid4().hex,
        f"{{{uuid4()}}}",
        f"urn:uuid:{uuid4()}",
        f" {uuid4()}",
        f"{uuid4()}\n",
        f"{uuid4()}0",
        str(uuid4())[:-1],
        str(uuid4()).replace("-", "_"),
        "０190a0a0-0000-7000-8000-000000000000",
        "g190a0a0-0000-7000-8000-000000000000",
        "0190a0a-00000-7000-8000-000000000000",
    ],
    ids=range(13),
)
def test_takes_nothing_else(text: str) -> None:
    assert not is_id(text)


@given(text=st.text(alphabet=string.hexdigits + "-\n", min_size=30, max_size=40))
def test_takes_only_what_a_uuid_is(text: str) -> None:
    if is_id(text):
        assert str(UUID(text)) == text.lower()
