"""However much is wrong with a body, the answer is short."""

import json
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient

from tests.support.people import Person, problem

MOST = 16_000
"""Bytes of the longest refusal."""
UNKNOWN = {f"x{number}": 1 for number in range(5000)}
CALLS = [
    "POST /api/auth/register",
    "POST /api/auth/login",
    "POST /api/auth/forgot",
    "POST /api/auth/reset",
    "POST /api/auth/verify",
    "PUT /api/users/notifications",
    "POST /api/auth/password",
    "PUT /api/users/profile",
    "DELETE /api/users/profile",
    "PATCH /api/users/premium",
    "POST /api/feedback/{name}",
    "POST /api/feedback/read",
    "PATCH /api/feedback/{id}/read",
    "POST /api/widgets",
    "PUT /api/widgets/{id}",
    "POST /api/widgets/{id}/feedback",
    "POST /api/widgets/{id}/events",
]


async def call(user: Person, line: str, asked: Any) -> ClientResponse:
    method, path = line.split()
    raw = json.dumps(asked, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(raw) <= 65536
    path = path.format(name=user.username, id="0193572f-6c00-7000-8000-5f3a9c1b2d4e")
    return await user.call(method, path, data=raw, headers={"Content-Type": "application/json"})


async def errors_of(response: ClientResponse) -> dict[str, Any]:
    """Return the errors of a refusal, which has to be short."""
    found = await problem(response, 422, "invalid")
    assert len(await response.read()) < MOST
    return dict(found["errors"])


@pytest.mark.parametrize("line", CALLS)
async def test_of_many_unknown_fields_the_first_are_named(user: Person, line: str) -> None:
    errors = await errors_of(await call(user, line, UNKNOWN))
    assert {name for name in errors if name in UNKNOWN} == set(list(UNKNOWN)[:20])
    assert errors["_schema"] == ["Unknown fields: 4,980 more."]


@pytest.mark.parametrize("line", CALLS)
async def test_long_names_of_unknown_fields_are_shortened(user: Person, line: str) -> None:
    for letter in "x\x01🔑":
        errors = await errors_of(await call(user, line, {f"{number:02}{letter * 80}": 1 for number in range(99)}))
        assert {f"{number:02}{letter * 61}…" for number in range(20)} <= errors.keys()
        assert errors["_schema"] == ["Unknown fields: 79 more."]


async def test_twenty_unknown_fields_are_all_named(client: TestClient) -> None:
    names = ["y" * 64, *list(UNKNOWN)[:19]]
    errors = await errors_of(await client.post("/api/feedback/anybody", json={"message": "x", **dict.fromkeys(names, 1)}))
    assert errors == {name: ["Unknown field."] for name in names}


async def test_what_is_wrong_with_known_fields_is_told_beside_the_unknown_ones(client: TestClient) -> None:
    errors = await errors_of(await client.post("/api/feedback/anybody", json={**UNKNOWN, "message": "", "metadata": 1}))
    assert (errors["message"], errors["metadata"]) == (["Must not be empty."], ["Must be an object."])
    assert len(errors) == 23


async def test_of_many_unknown_settings_the_first_are_named(user: Person) -> None:
    asked = {"name": "x", "type": "nps", "settings": UNKNOWN}
    for method, path in (("POST", "/api/widgets"), ("PUT", f"/api/widgets/{(await user.make_widget())['id']}")):
        errors = await errors_of(await user.call(method, path, json=asked))
        assert errors.keys() == {"settings"}
        assert errors["settings"].keys() == {*list(UNKNOWN)[:20], "_schema"}
        assert errors["settings"]["_schema"] == ["Unknown fields: 4,980 more."]


@pytest.mark.parametrize("item", ["x", 1, None, "https://example.com"])
async def test_a_list_that_is_too_long_is_told_its_length_alone(user: Person, item: Any) -> None:
    asked = {"name": "x", "type": "nps", "settings": {"allowed_origins": [item] * 2500}}
    assert await errors_of(await user.post("/api/widgets", json=asked)) == {
        "settings": {"allowed_origins": ["Longer than maximum length 20."]}
    }
    assert await errors_of(await user.post("/api/feedback/read", json={"ids": [item] * 2000})) == {
        "ids": ["Length must be between 1 and 500."]
    }


async def test_of_many_wrong_items_of_a_list_the_first_are_named(user: Person) -> None:
    good = "0193572f-6c00-7000-8000-5f3a9c1b2d4e"
    errors = await errors_of(await user.post("/api/feedback/read", json={"ids": [good] + ["x"] * 499}))
    assert errors["ids"].keys() == {*map(str, range(1, 21)), "_schema"}
    assert (errors["ids"]["1"], errors["ids"]["_schema"]) == (["Must be a UUID."], ["Not valid: 479 more."])
    errors = await errors_of(await user.post("/api/feedback/read", json={"ids": ["x"] * 20}))
    assert errors["ids"] == {str(place): ["Must be a UUID."] for place in range(20)}
