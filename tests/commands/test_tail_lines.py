"""What `fw tail` writes of a frame, whatever is in it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fw.commands.tail.lines import line, position, read

LONG = "9" * 401
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FEEDBACK = st.fixed_dictionaries({}, optional=dict.fromkeys(("created_at", "message", "metadata", "is_read", "other"), JSON))
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "event": st.sampled_from(["hello", "created", "updated", "deleted", "resync"]) | JSON,
        "cursor": st.integers(0, 2**64) | JSON,
        "feedback": FEEDBACK | JSON,
    },
)


def feedback(**fields: object) -> dict[str, object]:
    return {"created_at": "2026-01-31T12:00:00Z", "message": "Well done!", "metadata": None, "is_read": False, **fields}


def created(**fields: object) -> dict[str, object]:
    return {"event": "created", "cursor": 7, "feedback": feedback(**fields)}


def told(frame: str) -> str:
    return line(read(frame.encode()))


def test_tells_an_event_in_a_line() -> None:
    rated = line(created(metadata={"rating": 4}))
    assert rated.startswith("●      7  ")
    assert rated.endswith("  [4] Well done!")
    assert line({"event": "updated", "cursor": 8, "feedback": feedback(is_read=True)}).endswith("read: Well done!")
    assert line({"event": "updated", "cursor": 8, "feedback": feedback()}).endswith("unread: Well done!")
    assert line({"event": "deleted", "cursor": 9, "id": "x"}).endswith("deleted")
    assert line({"event": "resync", "cursor": 9}).endswith("read the list anew")


def test_a_message_cannot_command_the_terminal() -> None:
    written = line(created(message="a\x1b[2Jb\r\nc\u202ed\x07"))
    assert written.isprintable()
    assert written.endswith("a [2Jb c d ")


def test_a_long_message_is_cut_to_the_width() -> None:
    written = line(created(message="x" * 5000), 60)
    assert len(written) == 60
    assert written.endswith("…")


def test_colors_only_the_head() -> None:
    written = line(created(), color=True)
    assert written.startswith("\x1b[1;32m●")
    assert written.endswith("\x1b[0m  Well done!")


@pytest.mark.parametrize("number", [LONG, f"-{LONG}", "9" * 5000, "1e999", "NaN"])
def test_numbers_that_no_double_holds_are_no_hindrance(number: str) -> None:
    whole = json.dumps(created(metadata={"rating": "HERE", "n": "HERE"})).replace('"HERE"', number)
    assert told(whole).endswith("  Well done!")
    assert position(read(whole.encode())) == 7


@pytest.mark.parametrize("rating", ["5", True, None, [5], {}, -1, 11, 10**30])
def test_what_is_no_rating_is_left_out(rating: Any) -> None:
    assert told(json.dumps(created(metadata={"rating": rating}))).endswith("  Well done!")


@pytest.mark.parametrize("metadata", ["rating", ["rating"], 7, True])
def test_metadata_that_are_no_object_are_left_out(metadata: Any) -> None:
    assert told(json.dumps(created(metadata=metadata))).endswith("  Well done!")


@pytest.mark.parametrize("moment", ["yesterday", "", 7, None, [], "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_date_that_cannot_be_read_is_left_open(moment: Any) -> None:
    assert told(json.dumps(created(created_at=moment))) == "●      7  --:--:--  Well done!"


@pytest.mark.parametrize("frame", ["", "{", "nonsense", "[]", "7", "null", '"created"', "[" * 100_000, '{"event": 7}', "{}"])
def test_says_that_a_frame_cannot_be_read(frame: str) -> None:
    assert told(frame).startswith("?         ")
    assert told(frame).endswith("the server sent what cannot be read")


@pytest.mark.parametrize("name", ["created", "updated"])
@pytest.mark.parametrize("content", ["feedback", [], None, {}, {"message": 7}])
def test_says_which_event_cannot_be_read(name: str, content: Any) -> None:
    written = told(json.dumps({"event": name, "cursor": 7, "feedback": content}))
    assert written.startswith("?      7  ")
    assert written.endswith(f"{name}: cannot be read")


def test_says_that_an_event_is_of_a_kind_not_known_here() -> None:
    written = told(json.dumps({"event": "mer\x1b[2Jged", "cursor": 7, "feedback": feedback()}))
    assert written.startswith("?      7  ")
    assert written.endswith("mer [2Jged: is not known to this release")


@pytest.mark.parametrize("cursor", ["7", 7.0, True, None, -1, 2**63, 10**401, [7]])
def test_only_a_cursor_that_a_server_takes_is_one(cursor: Any) -> None:
    event = read(json.dumps({"event": "deleted", "cursor": cursor}).encode())
    assert position(event) is None
    assert line(event).startswith("✗         ")


@given(frame=st.binary() | (EVENTS | JSON).map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_one_line_that_commands_nothing(frame: bytes) -> None:
    event = read(frame)
    assert line(event).isprintable()
    position(event)
