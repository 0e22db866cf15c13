"""Widgets to try: their settings stand in the path, and nothing is stored."""

import base64
import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from tests.support.people import Person, body, nothing, problem


def path_of(demo: Any, rest: str = "api/widgets/demo/config") -> str:
    packed = base64.urlsafe_b64encode(json.dumps(demo).encode()).decode().rstrip("=")
    return f"/demo/{packed}/{rest}"


async def test_has_the_settings_in_its_path(client: TestClient) -> None:
    demo = {"type": "rating", "theme": "dark", "settings": {"title": "Ça va? 👋 </script>", "color": "#112233"}}
    assert await body(await client.get(path_of(demo))) == {"id": "demo", "username": "demo", **demo}
    assert (await body(await client.get(path_of({"type": "button"}))))["settings"] == {}


async def test_answers_and_stores_nothing(client: TestClient, user: Person) -> None:
    demo = {"type": "inline"}
    answer = await body(await client.post(path_of(demo, "api/widgets/demo/feedback"), json={"message": "Only a try"}), 201)
    assert answer.keys() == {"id", "created_at"}
    await nothing(await client.post(path_of(demo, "api/widgets/demo/events"), json={"event": "view"}))
    assert (await user.inbox())["total_count"] == 0


async def test_shows_a_page_that_only_our_own_pages_may_frame(client: TestClient) -> None:
    response = await client.get(path_of({"type": "inline", "settings": {"title": "<script>alert(1)</script>"}}, "page"))
    text = await response.text()
    assert response.status == 200
    assert "frame-ancestors 'self'" in response.headers["Content-Security-Policy"]
    assert '<script async src="widget.js" data-widget="' in text
    assert "alert" not in text
    script = await client.get(path_of({"type": "inline"}, "widget.js"))
    assert (script.status, script.content_type) == (200, "text/javascript")


@pytest.mark.parametrize(
    "demo",
    [[], 1, "x", {}, {"type": "other"}, {"type": "inline", "settings": {"title": "x" * 201}}, {"type": "inline", "x": 1}],
)
@pytest.mark.parametrize("rest", ["page", "api/widgets/demo/config"])
async def test_what_is_no_widget_is_not_found(client: TestClient, demo: Any, rest: str) -> None:
    await problem(await client.get(path_of(demo, rest)), 404, "not-found")


@pytest.mark.parametrize("packed", ["x", "%00", "====", "ÿ", "e30=", "bm8"])
async def test_what_is_no_base64_of_json_is_not_found(client: TestClient, packed: str) -> None:
    await problem(await client.get(f"/demo/{packed}/api/widgets/demo/config"), 404, "not-found")
