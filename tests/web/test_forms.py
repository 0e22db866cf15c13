"""Forms, as browsers send them."""

import sys
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fw.errors import Invalid, UnsupportedMediaType
from fw.web.request import parse_form

TEXTS = st.text(st.characters(blacklist_categories=("Cs",)), max_size=40)


@given(st.dictionaries(TEXTS, TEXTS, max_size=5))
def test_what_a_browser_sends_comes_out_as_it_was(fields: dict[str, str]) -> None:
    assert parse_form(urlencode(fields).encode()) == fields


@given(st.text(st.sampled_from("ab=&+%4109aAfF;\\xnuN{}"), max_size=40))
def test_anything_else_is_read_as_by_the_standard_library(text: str) -> None:
    expected = dict(reversed(parse_qsl(text, keep_blank_values=True, errors="replace")))
    try:
        assert parse_form(text.encode()) == expected
    except UnsupportedMediaType:
        assert any("�" in part for pair in expected.items() for part in pair)


@pytest.mark.parametrize("raw", [b"a=%ff", b"a=%ed%a0%80", b"\xff=1", b"a=\xc3", b"a=" + b"%" * 1001])
def test_what_is_not_utf_8_or_no_form_is_refused(raw: bytes) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse_form(raw)


def test_a_form_of_escapes_takes_no_call_of_python_for_each() -> None:
    """16 kB of them took 9 ms, and they were read although a limit refused them."""
    calls = []

    def count(frame: object, event: str, argument: Any) -> None:
        calls.append(event)

    raw = b"message=" + b"%41+" * 4000
    sys.setprofile(count)
    try:
        form = parse_form(raw)
    finally:
        sys.setprofile(None)
    assert form == {"message": "A " * 4000}
    assert len(calls) < 4000


def test_the_first_of_two_counts_and_there_are_at_most_100() -> None:
    assert parse_form(b"a=1&a=2&b") == {"a": "1", "b": ""}
    with pytest.raises(Invalid):
        parse_form(b"&" * 100)
