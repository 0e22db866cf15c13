"""The front page, and the pages that links lead to."""

import pytest
from aiohttp.test_utils import TestClient

from fw.pages.front import DEMO
from tests.conftest import MakeClient
from tests.support.people import body, problem


@pytest.mark.parametrize("path", ["/", "/forgot", "/reset", "/verify", "/inbox", "/inbox/widgets/new"])
async def test_a_page_is_there_with_a_strict_policy(client: TestClient, path: str) -> None:
    response = await client.get(path)
    text = await response.text()
    assert (response.status, response.content_type) == (200, "text/html")
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "<style" not in text
    assert " style=" not in text


async def test_the_front_page_shows_a_widget_to_try(client: TestClient) -> None:
    text = await (await client.get("/")).text()
    assert f'<script async src="/demo/{DEMO}/widget.js" data-widget="demo"' in text
    assert (await body(await client.get(f"/demo/{DEMO}/api/widgets/demo/config")))["type"] == "nps"


async def test_the_front_page_alone_can_be_turned_off(make_client: MakeClient) -> None:
    client = await make_client(front_page=False)
    await problem(await client.get("/"), 404, "not-found")
    assert (await client.get("/inbox")).status == 200
