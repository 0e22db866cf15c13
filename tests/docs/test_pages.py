"""The pages: the API's description to read and try, and one for each problem."""

import gzip
import hashlib
import re
from urllib.parse import urljoin

import pytest
from aiohttp.test_utils import TestClient

from fw import errors
from fw.docs.openapi import FILES
from fw.web.assets import STATIC, pack
from tests.support.people import Person, problem

PAGES = ("/api/docs", "/problems", "/problems/invalid")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_from_here_alone(client: TestClient, path: str) -> None:
    response = await client.get(path)
    text = await response.text()
    assert (response.status, response.content_type) == (200, "text/html")
    policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert policy["frame-ancestors"] == "'none'"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert not re.search(r"<style|style=|<script>|\son\w+=", text)


@pytest.mark.parametrize("path", PAGES)
async def test_what_a_page_links_to_is_there(client: TestClient, path: str) -> None:
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", await (await client.get(path)).text())
    assert len(links) >= 4
    for link in links:
        response = await client.get(urljoin(path, link))
        assert response.status == 200, link


@pytest.mark.parametrize("name", FILES)
async def test_a_file_of_the_pages_is_sent_packed_or_not_and_once(client: TestClient, name: str) -> None:
    packed = await client.get(f"/api/docs/{name}", headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
    plain = await client.get(f"/api/docs/{name}", headers={"Accept-Encoding": "identity"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(await packed.read()) == await plain.read()
    assert plain.content_type == pack(FILES[name]).media
    assert "Accept-Encoding" in plain.headers["Vary"]
    again = await client.get(f"/api/docs/{name}", headers={"If-None-Match": packed.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=1.0, br", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, br", False),
        ("br", False),
        ("gzip-foo", False),
        ("x.gzip", False),
        ("gzip;q=0;x=1", False),
        ("," * 20 + "gzip", True),
        # To look at all of it takes 8 ms.
        ("," * 8000 + "gzip", False),
        ("gzip" + ";x=1" * 2000, True),
    ],
)
async def test_a_file_is_packed_for_those_who_take_it_so(client: TestClient, accepted: str, packed: bool) -> None:
    response = await client.get("/api/docs/docs.css", headers={"Accept-Encoding": accepted})
    assert (response.headers.get("Content-Encoding") == "gzip") == packed
    assert "swagger-ui" in await response.text()
    assert response.headers["ETag"].endswith('-gzip"') == packed


@pytest.mark.parametrize("name", ["nothing.js", "..%2fapi.md", "docs.html", "%00", "swagger-ui-bundle.js.gz"])
async def test_no_other_file_is_sent(client: TestClient, name: str) -> None:
    await problem(await client.get(f"/api/docs/{name}"), 404, "not-found")


@pytest.mark.parametrize("kind", errors.CATALOGUE, ids=lambda kind: kind.slug)
async def test_each_problem_is_explained(client: TestClient, kind: type[errors.Problem]) -> None:
    text = await (await client.get(f"/problems/{kind.slug}")).text()
    assert f"<h1>{kind.title}</h1>" in text
    assert len(kind.advice) > 40
    assert f"/problems/{kind.slug}" in text
    own = next(ancestor for ancestor in kind.__mro__ if "advice" in vars(ancestor))
    assert own is kind, "it has no advice of its own"


async def test_the_type_of_an_error_is_a_link_that_works(client: TestClient, user: Person) -> None:
    for response in (
        await client.get("/nowhere"),
        await client.post("/api/auth/login", data=b"{"),
        await user.get("/api/feedback?limit=0"),
    ):
        page = await client.get((await response.json())["type"])
        assert page.status == 200
        assert page.content_type == "text/html"


async def test_there_is_no_page_for_what_is_no_problem(client: TestClient) -> None:
    await problem(await client.get("/problems/nothing"), 404, "not-found")
    await problem(await client.get("/problems/<script>"), 404, "not-found")


@pytest.mark.parametrize("name", ["swagger-ui.css", "swagger-ui-bundle.js"])
def test_swagger_ui_is_what_its_readme_says(name: str) -> None:
    folder = STATIC / "vendor" / "swagger-ui"
    digest = hashlib.sha256(gzip.decompress((folder / f"{name}.gz").read_bytes())).hexdigest()
    assert f"| `{name}` | `{digest}` |" in (folder / "README.md").read_text()
