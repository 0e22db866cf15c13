"""The API's description: whole, valid, and true to what is served."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import WSMsgType
from aiohttp.test_utils import TestClient
from openapi_spec_validator import validate

from fw import errors
from fw.cli import main
from fw.docs.openapi import describe
from fw.routes import ROUTES
from fw.web.route import Access, Route
from tests.conftest import MakeClient
from tests.support.conformance import document, resolve, validator
from tests.support.people import Person, body

DOCUMENT = describe(ROUTES)
OPERATIONS = {
    f"{method.upper()} {path}": operation for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
}


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def references(part: Any) -> Iterator[str]:
    """Find every reference in a part of the description."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_is_valid() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


async def test_is_served_as_it_is_printed(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    served = await body(await client.get("/api/openapi.json"))
    assert main(["openapi"]) == 0
    assert json.loads(capsys.readouterr().out) == served == DOCUMENT


def test_tells_all_that_handlers_say_of_their_calls() -> None:
    found = OPERATIONS["POST /api/webhooks/{id}/resend"]
    assert found["summary"].startswith("Send one delivery again")
    assert found["description"].endswith("at most 1,000 are queued: call again for more.")
    assert "1 MiB" in OPERATIONS["GET /api/feedback"]["description"]


def test_describes_exactly_the_url_table() -> None:
    assert set(OPERATIONS) == {name_of(route) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_describes_a_route_in_full(route: Route) -> None:
    operation = OPERATIONS[name_of(route)]
    assert len(operation["summary"]) > 10
    assert set(re.findall(r"\{(\w+)\}", route.path)) == {
        part["name"] for part in operation["parameters"] if part["in"] == "path"
    }
    assert [part["name"] for part in operation["parameters"] if not part.get("description")] == []
    assert any(int(status) < 400 for status in operation["responses"])
    schemes = {name for option in operation["security"] for name in option}
    assert ("bearer" in schemes) == (route.access is not Access.ANYONE or route.path.endswith("/live"))
    assert ("billing" in schemes) == (route.access is Access.OWNER_OR_BILLING)
    assert ("401" in operation["responses"]) >= (route.access is not Access.ANYONE)
    if "requestBody" in operation:
        assert {"400", "413", "415", "422"} <= operation["responses"].keys()


def test_names_each_operation_once_and_each_tag_with_words() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(names) == len(set(names))
    assert {tag for operation in OPERATIONS.values() for tag in operation["tags"]} == {tag["name"] for tag in DOCUMENT["tags"]}
    assert all(tag["description"] for tag in DOCUMENT["tags"])


def test_leads_nowhere_in_vain_and_keeps_nothing_unused() -> None:
    found = set(references(DOCUMENT))
    for reference in found:
        assert resolve({"$ref": reference})
    components = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "headers")
        for name in DOCUMENT["components"][kind]
        if name != "Allow"
    }
    assert components - found == set()


def test_says_in_words_what_no_schema_says() -> None:
    words = DOCUMENT["info"]["description"]
    for subject in (
        "**Paging.**",
        "**The cursor.**",
        "**Limits.**",
        "**Safe repetition.**",
        "`Idempotency-Key`",
        "`resync`",
        "RateLimit",
    ):
        assert subject in words
    submit = OPERATIONS["POST /api/feedback/{ref}"]
    assert "Idempotency-Key" in {part["name"] for part in submit["parameters"]}
    assert {"RateLimit", "RateLimit-Policy"} <= submit["responses"]["201"]["headers"].keys()
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= DOCUMENT["components"]["responses"]["TooManyRequests"][
        "headers"
    ].keys()


@pytest.mark.parametrize("problem", errors.CATALOGUE, ids=lambda problem: problem.slug)
def test_shows_an_example_of_each_problem(problem: type[errors.Problem]) -> None:
    example = DOCUMENT["components"]["examples"][problem.slug]["value"]
    validator("#/components/schemas/Problem").validate(example)
    assert (example["type"], example["status"]) == (f"/problems/{problem.slug}", problem.status)


def test_names_the_problems_of_a_status() -> None:
    taken = resolve(OPERATIONS["POST /api/auth/register"]["responses"]["409"])["content"]["application/problem+json"]
    assert set(taken["examples"]) == {"email-taken", "username-taken"}
    assert taken["schema"] == {"$ref": "#/components/schemas/Problem"}


def test_examples_are_valid() -> None:
    count = 0
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field, shape in schema["properties"].items():
            for example in shape.get("examples", ()):
                jsonschema_rs.Draft202012Validator(shape, validate_formats=True).validate(example)
                count += 1
                assert example, f"{name}.{field}"
    assert count > 8


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ("UserLogin", {"email": "a@b.example", "password": "x"}, {"password": "x"}),
        ("UserLogin", {"login": "a", "password": "x"}, {"login": "a", "email": "b", "password": "x"}),
        ("UserProfile", {"profile_image": None}, {"current_password": "x"}),
        ("FeedbackMarkMany", {"up_to": 3}, {"up_to": 3, "ids": ["01980c2e-7a00-7000-8000-000000000000"]}),
        ("FeedbackSubmit", {"message": " x "}, {"message": " \n "}),
        ("FeedbackSubmit", {"message": "x"}, {"message": "a\0b"}),
        ("FeedbackSubmit", {"message": "\ufeff"}, {"message": "\x85 \x1c"}),
        ("UserProfile", {"profile_image": "https://\xfc.example:65535/?a"}, {"profile_image": "https://a\x85b.example"}),
        ("UserProfile", {"profile_image": "https://[::1]/"}, {"profile_image": "https://a.example:65536"}),
        ("UserProfile", {"profile_image": "https://[fe80::1:ffff]/"}, {"profile_image": "https://[07dbb1dd]/"}),
        ("FeedbackSubmit", {"message": "x", "metadata": None}, {"message": "x", "rating": 1}),
        ("FeedbackSubmit", {"message": "x", "metadata": {"rating": 9.5}}, {"message": "x", "metadata": {"rating": 10.5}}),
        ("WidgetChange", {"is_active": True}, {}),
        ("WidgetCreate", {"name": "x", "type": "nps"}, {"name": "x", "type": "star"}),
        ("WidgetSettings", {"color": "#12aBcd", "locale": "zh-Hant-TW"}, {"color": "#12aBcdef"}),
    ],
)
async def test_schemas_agree_with_the_service(user: Person, schema: str, good: dict[str, Any], bad: dict[str, Any]) -> None:
    found = validator(f"#/components/schemas/{schema}")
    assert found.is_valid(good)
    assert not found.is_valid(bad)
    calls = {
        "UserLogin": ("POST", "/api/auth/login"),
        "UserProfile": ("PUT", "/api/users/profile"),
        "FeedbackMarkMany": ("POST", "/api/feedback/read"),
        "FeedbackSubmit": ("POST", f"/api/feedback/{user.username}"),
        "WidgetCreate": ("POST", "/api/widgets"),
    }
    if schema in calls:
        assert (await user.call(*calls[schema], json=good)).status != 422
        assert (await user.call(*calls[schema], json=bad)).status == 422


async def test_describes_what_the_live_channel_says(user: Person) -> None:
    said = document()["paths"]["/api/feedback/live"]["get"]["x-messages"]
    fits = jsonschema_rs.Draft202012Validator({**said["fromServer"], "components": document()["components"]})
    first = await user.receive("hello")
    async with user.client.ws_connect("/api/feedback/live?since=0", headers=user.headers) as socket:
        heard = [await socket.receive_json() for _ in range(2)]
        await user.patch(f"/api/feedback/{first}/read")
        heard.append(await socket.receive_json())
        await user.delete(f"/api/feedback/{first}")
        heard.append(await socket.receive_json())
    async with user.client.ws_connect("/api/feedback/live?since=99", headers=user.headers) as socket:
        heard += [await socket.receive_json() for _ in range(2)]
    assert [event["event"] for event in heard] == ["hello", "created", "updated", "deleted", "hello", "resync"]
    for event in heard:
        fits.validate(event)
    assert not fits.is_valid({**heard[1], "event": "renamed"})
    hello = {"type": "auth", "token": user.token}
    validator(said["fromClient"]["$ref"]).validate(hello)
    async with user.client.ws_connect("/api/feedback/live") as socket:
        await socket.send_json(hello)
        assert (await socket.receive()).type is WSMsgType.TEXT


async def test_needs_no_database(make_client: MakeClient) -> None:
    client = await make_client(database_url="postgresql://nobody@127.0.0.1:1/nowhere")
    for path in ("/api/openapi.json", "/api/docs", "/problems", "/problems/unavailable"):
        assert (await client.get(path)).status == 200
