"""The files that pages load: under their version, for good."""

import pytest
from aiohttp.test_utils import TestClient

from fw.web.assets import MEDIA, files, static_path, version
from tests.conftest import MakeClient
from tests.support.people import problem


async def test_a_file_is_kept_for_good_under_its_version_only(client: TestClient) -> None:
    response = await client.get(static_path("tokens.css"))
    assert response.status == 200
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "--accent" in await response.text()
    other = await client.get(static_path("tokens.css").replace(version(), "000000000000"))
    assert (other.status, other.headers["Cache-Control"]) == (200, "no-cache")
    assert other.headers["ETag"] == response.headers["ETag"]


async def test_every_file_is_sent_and_each_is_of_a_known_kind(client: TestClient) -> None:
    assert len(files()) > 8
    for name in files():
        response = await client.get(static_path(name))
        assert response.status == 200
        assert response.content_type in {*MEDIA.values()}


@pytest.mark.parametrize("path", ["../config.py", "%2e%2e/config.py", "nothing.css", "vendor/swagger-ui/LICENSE", "", "inbox/"])
async def test_nothing_else_is_sent(client: TestClient, path: str) -> None:
    await problem(await client.get(f"/static/{version()}/{path}"), 404, "not-found")


async def test_pages_can_be_turned_off(make_client: MakeClient) -> None:
    client = await make_client(pages=False)
    for path in ("/inbox", "/inbox/settings", static_path("tokens.css"), "/u/somebody", "/", "/forgot", "/reset", "/verify"):
        await problem(await client.get(path), 404, "not-found")
    assert (await client.get("/api/docs")).status == 200
