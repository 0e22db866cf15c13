"""The URL table as a whole."""

import importlib
import inspect
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from itertools import product
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient

import fw
from fw.accounts.fields import RESERVED
from fw.routes import ROUTES
from fw.web.route import Access, Route
from tests.conftest import MakeClient
from tests.support.people import problem

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
NAMES = ("{username}", "{ref}")
"""The parameters in whose place a username may stand."""
PATHS = sorted({route.path for route in ROUTES})


@pytest.fixture
async def client(make_client: MakeClient) -> TestClient:
    """A server without a database: what is asked here is answered before one is needed."""
    return await make_client(database_url="postgresql://nobody@127.0.0.1:1/nowhere")


def is_parameter(segment: str) -> bool:
    return segment.startswith("{")


def fill(path: str) -> str:
    """Put an id where a path has a parameter."""
    return "/".join(str(uuid4()) if is_parameter(segment) else segment for segment in path.split("/"))


def methods_of(path: str) -> set[str]:
    """Return the methods of every route that takes this path; of what stands in the table word for word, those alone."""
    found = {route.method for route in ROUTES if route.path == path}
    for route in () if found else ROUTES:
        pattern = "/".join("[^/]+" if is_parameter(segment) else re.escape(segment) for segment in route.path.split("/"))
        if re.fullmatch(pattern, path):
            found.add(route.method)
    return found


def is_beginning(segments: list[str], others: list[str]) -> bool:
    """Tell whether a path may begin with both."""
    return all(a == b or is_parameter(a) or is_parameter(b) for a, b in zip(segments, others, strict=True))


def literals_beside_names() -> Iterator[str]:
    """Find every literal that stands where another path has a username."""
    for path, other in product(PATHS, PATHS):
        segments, others = path.split("/"), other.split("/")
        for place, segment in enumerate(segments):
            if segment not in NAMES or place >= len(others) or is_parameter(others[place]):
                continue
            if is_beginning(segments[:place], others[:place]):
                yield others[place]


def test_each_method_of_a_path_comes_once() -> None:
    assert [line for line, count in Counter((route.method, route.path) for route in ROUTES).items() if count > 1] == []


def test_each_path_that_differs_in_a_name_alone_comes_once() -> None:
    nameless = Counter((route.method, re.sub(r"\{\w+\}", "{}", route.path)) for route in ROUTES)
    assert [line for line, count in nameless.items() if count > 1] == []


def test_each_handler_is_in_the_table() -> None:
    modules = [importlib.import_module(found.name) for found in pkgutil.walk_packages(fw.__path__, "fw.") if not found.ispkg]
    found = {
        function
        for module in modules
        for _, function in inspect.getmembers(module, inspect.iscoroutinefunction)
        if function.__module__ == module.__name__ and hasattr(function, "operation")
    }
    assert len(found) > 20
    assert found - {route.handler for route in ROUTES} == set()


def test_no_name_that_stands_in_a_path_can_be_taken() -> None:
    literals = set(literals_beside_names())
    assert {"changes", "read", "profile", "premium"} <= literals
    assert literals - RESERVED == set()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_only_what_is_for_anyone_answers_without_a_token(client: TestClient, route: Route) -> None:
    path = fill(route.path)
    if route.access is Access.ANYONE:
        assert (await client.request(route.method, path)).status != 401
        return
    for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Basic bWU6cHc="}, {"Authorization": "Bearer x.y.z"}):
        response = await client.request(route.method, path, headers=headers)
        await problem(response, 401, "unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", PATHS)
async def test_a_method_that_a_path_does_not_have_is_refused(client: TestClient, path: str) -> None:
    filled = fill(path)
    allowed = methods_of(filled)
    for method in sorted(set(METHODS) - allowed):
        response = await client.request(method, filled)
        await problem(response, 405, "method-not-allowed")
        assert set(re.split(r", *", response.headers["Allow"])) & set(METHODS) == allowed


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/api/users/profile"), ("POST", "/api/feedback/changes"), ("DELETE", "/api/feedback/live")]
)
async def test_a_literal_is_no_name(client: TestClient, method: str, path: str) -> None:
    response = await client.request(method, path)
    await problem(response, 405, "method-not-allowed")
    assert method not in response.headers["Allow"]


@pytest.mark.parametrize("path", PATHS)
async def test_an_unheard_of_method_is_refused(client: TestClient, path: str) -> None:
    response = await client.request("PROPFIND", fill(path))
    await problem(response, 405, "method-not-allowed")
    assert response.headers["Allow"]


@pytest.mark.parametrize("path", [route.path for route in ROUTES if route.method == "GET"])
async def test_what_can_be_got_can_be_asked_for_its_head(client: TestClient, path: str) -> None:
    filled = fill(path)
    got, head = await client.get(filled), await client.head(filled)
    assert (head.status, head.content_type) == (got.status, got.content_type)
    assert await head.read() == b""


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nowhere", "/api/feedback/", "/health/", "/%00", "/%ff"])
async def test_a_path_that_is_not_there_is_not_found(client: TestClient, path: str) -> None:
    await problem(await client.get(path), 404, "not-found")
