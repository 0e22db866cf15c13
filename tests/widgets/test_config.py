"""GET /api/widgets/{id}/config."""

from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient

from tests.support.people import Person, body, problem

ANYWHERE = {"Origin": "https://anywhere.example"}


def path(widget: dict[str, Any]) -> str:
    return f"/api/widgets/{widget['id']}/config"


async def test_shows_what_a_page_needs_and_nothing_else(client: TestClient, user: Person) -> None:
    settings = {"title": "Well?", "allowed_origins": ["https://example.com"]}
    widget = await user.make_widget(name="Secret name", type="nps", theme="auto", settings=settings)
    assert await body(await client.get(path(widget))) == {
        "id": widget["id"],
        "username": user.username,
        "type": "nps",
        "theme": "auto",
        "settings": settings,
    }


async def test_is_for_any_page_without_credentials(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(settings={"allowed_origins": ["https://example.com"]})
    response = await client.get(path(widget), headers=ANYWHERE)
    await body(response)
    assert response.headers["Access-Control-Allow-Origin"] == ANYWHERE["Origin"]
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert response.headers["Vary"] == "Origin"


async def test_may_be_kept_for_a_minute(client: TestClient, user: Person) -> None:
    response = await client.get(path(await user.make_widget()))
    assert response.headers["Cache-Control"] == "public, max-age=60"


@pytest.mark.parametrize("form", ["{}", "W/{}", '"another", {}', "*"])
async def test_says_when_nothing_has_changed(client: TestClient, user: Person, form: str) -> None:
    widget = await user.make_widget()
    etag = (await client.get(path(widget))).headers["ETag"]
    response = await client.get(path(widget), headers={"If-None-Match": form.format(etag), **ANYWHERE})
    assert (response.status, await response.read()) == (304, b"")
    assert response.headers["ETag"] == etag
    assert response.headers["Cache-Control"] == "public, max-age=60"
    assert response.headers["Access-Control-Allow-Origin"] == ANYWHERE["Origin"]


async def test_has_another_etag_after_each_change(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    seen = {(await client.get(path(widget))).headers["ETag"]}
    for change in ({"type": "popup"}, {"theme": "dark"}, {"settings": {"title": "Hi"}}):
        await body(await user.put(f"/api/widgets/{widget['id']}", json=change))
        response = await client.get(path(widget), headers={"If-None-Match": ", ".join(seen)})
        await body(response)
        seen.add(response.headers["ETag"])
    assert len(seen) == 4


async def test_keeps_its_etag_where_a_change_does_not_show(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    before = (await client.get(path(widget))).headers["ETag"]
    await body(await user.put(f"/api/widgets/{widget['id']}", json={"name": "Another"}))
    assert (await client.get(path(widget))).headers["ETag"] == before


async def test_answers_head_with_the_same_headers(client: TestClient, user: Person) -> None:
    widget = await user.make_widget()
    full, head = await client.get(path(widget)), await client.head(path(widget))
    assert head.status == 200
    assert {name: head.headers[name] for name in ("ETag", "Cache-Control", "Content-Length")} == {
        name: full.headers[name] for name in ("ETag", "Cache-Control", "Content-Length")
    }


async def test_hides_a_widget_while_it_is_inactive(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(is_active=False)
    hidden = await problem(await client.get(path(widget), headers=ANYWHERE), 404, "not-found")
    unknown = await problem(await client.get(path({"id": uuid4()})), 404, "not-found")
    assert hidden["detail"] == unknown["detail"]
    await body(await user.put(f"/api/widgets/{widget['id']}", json={"is_active": True}))
    await body(await client.get(path(widget)))


async def test_tells_any_page_that_there_is_no_such_widget(client: TestClient) -> None:
    response = await client.get(path({"id": uuid4()}), headers=ANYWHERE)
    await problem(response, 404, "not-found")
    assert response.headers["Access-Control-Allow-Origin"] == ANYWHERE["Origin"]
    assert "public" not in response.headers.get("Cache-Control", "")


async def test_finds_nothing_by_what_is_no_id(client: TestClient) -> None:
    for wrong in ("1", "corner", "%00", "%F0%9F%8E%89", "0" * 32):
        await problem(await client.get(path({"id": wrong})), 404, "not-found")
