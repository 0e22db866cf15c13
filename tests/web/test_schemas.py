"""The short way through a schema comes to the same as marshmallow's own."""

import re
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

import fw.routes  # noqa: F401 - loads every module that has one
from fw.web.fields import SPACE
from fw.web.schemas import Body, Headers, Query

BASES = (Body, Query, Headers)
SCHEMAS = {
    f"{kind.__module__.removeprefix('fw.')}.{kind.__name__}": kind()
    for base in BASES
    for kind in base.__subclasses__()
    if kind.__module__.startswith("fw.")
}
ID = "01980c2e-7a00-7000-8000-000000000000"
TEXTS = st.one_of(
    st.text(max_size=3),
    st.sampled_from((ID, "true", "newest", "oldest", "2026-01-31", "view", "nps", "light", "10", "Europe/Berlin", "password")),
    st.sampled_from(("you@example.com", "somebody", "a long one of yours", "https://example.com/me.png")),
)
VALUES = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-1, 12),
    st.floats(),
    st.lists(st.sampled_from((ID, "", 5)), max_size=2),
    st.dictionaries(st.sampled_from(("rating", "color", "title")), st.sampled_from((5, "x", None, "#123456")), max_size=2),
)


def outcome(schema: Schema, load: Any, values: dict[str, Any]) -> Any:
    try:
        return load(schema, values)
    except ValidationError as error:
        return error.messages


@pytest.mark.parametrize("name", SCHEMAS)
@settings(max_examples=50)
@given(data=st.data())
def test_loads_as_marshmallow_does(name: str, data: st.DataObject) -> None:
    schema = SCHEMAS[name]
    keys = [field.data_key or name for name, field in schema.load_fields.items()]
    values = data.draw(
        st.dictionaries(
            st.sampled_from([*keys, "unknown"]), TEXTS if isinstance(schema, Query) else VALUES, max_size=len(keys) + 1
        )
    )
    short, long = outcome(schema, type(schema).load, values), outcome(schema, Schema.load, values)
    assert repr(short) == repr(long)


def test_white_space_is_what_python_takes_away() -> None:
    space = re.compile(f"[{SPACE}]")
    characters = map(chr, range(sys.maxunicode + 1))
    assert [character for character in characters if bool(space.match(character)) != (not character.strip())] == []


def test_knows_the_schemas_of_every_body_and_query() -> None:
    assert len(SCHEMAS) >= 15
