"""GET /widget.js."""

import gzip
import re

from aiohttp.test_utils import TestClient

from fw.web.assets import STATIC
from tests.support.sites import STRICT

README = (STATIC.parent.parent / "README.md").read_text(encoding="utf-8")
SCRIPT = (STATIC / "widget.js").read_text(encoding="utf-8")


async def test_any_site_may_load_it_and_keep_it_for_minutes(client: TestClient) -> None:
    response = await client.get("/widget.js", headers={"Origin": "https://anywhere.example"})
    assert (response.status, response.content_type) == (200, "text/javascript")
    assert response.headers["Access-Control-Allow-Origin"] == "https://anywhere.example"
    assert response.headers["Cache-Control"] == "public, max-age=300"
    assert await response.text() == SCRIPT
    again = await client.get("/widget.js", headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")


async def test_it_has_at_most_7_kb(client: TestClient) -> None:
    response = await client.get("/widget.js", headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
    packed = await response.read()
    assert gzip.decompress(packed).decode() == SCRIPT
    assert len(packed) <= 7 * 1024


def test_it_makes_no_markup_of_text() -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", SCRIPT)


def test_each_language_has_every_text() -> None:
    tables = dict(re.findall(r'^    (\w\w): "(.*)",$', SCRIPT, re.MULTILINE))
    assert sorted(tables) == ["ar", "de", "en", "es", "fr", "it", "ja", "nl", "pt", "zh"]
    texts = {language: table.split("|") for language, table in tables.items()}
    assert {len(found) for found in texts.values()} == {10}
    assert all(text.strip() == text != "" for found in texts.values() for text in found)


def test_its_colours_are_those_of_all_pages() -> None:
    tokens = (STATIC / "tokens.css").read_text(encoding="utf-8")
    shared = dict(re.findall(r"--(\w+): (#\w+);", tokens))
    assert {"ground", "ink", "quiet", "line", "accent", "danger"} <= shared.keys()
    by_day, by_night = tokens.split("@media (prefers-color-scheme: dark)")
    for colours in (by_day, by_night):
        for name in ("ground", "raised", "ink", "quiet", "line", "accent", "danger"):
            (colour,) = set(re.findall(rf"--{name}: #(\w+);", colours))
            short = "".join(colour[::2]) if colour[::2] == colour[1::2] else colour
            assert re.search(rf"\b({colour}|{short})\b", SCRIPT), name


def test_the_policy_in_the_readme_is_the_one_that_is_tested() -> None:
    lines = "; ".join(line.rstrip(";") for line in re.findall(r"^\w+-src https://HOST;$", README, re.MULTILINE))
    assert STRICT.format(host="https://HOST") == f"default-src 'none'; {lines}"
