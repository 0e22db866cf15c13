"""The owner's widgets and their statistics in a real browser, and what is seen of all views of the app."""

import base64
import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import expect

from tests.support.accessibility import faults_of
from tests.support.browsing import browse, needs_browser
from tests.support.owner_app import PHONE, REFUSED, is_too_wide, row, rows, sign_in, url_of
from tests.support.people import Person, body

pytestmark = [pytest.mark.slow, needs_browser]

HOSTILE = "<img src=x onerror=alert(1)>"


def unpack(address: str) -> dict[str, Any]:
    """Return the widget that the address of a preview describes."""
    packed = address.split("/")[2]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)))
    return found


async def test_makes_edits_and_deletes_a_widget_seen_in_a_preview(client: TestClient, user: Person) -> None:
    async with browse(expected=REFUSED) as page:
        await sign_in(page, client, user)
        await page.get_by_role("link", name="Make your first widget").click()
        await expect(page.get_by_role("heading", name="New widget")).to_be_focused()
        await page.get_by_label("Name").fill(HOSTILE)
        await page.get_by_label("Kind").select_option("Rating, 1 to 5")
        await page.get_by_label("Title").fill("Wie gefällt’s? 🙂")
        await page.get_by_label("Sites that may show it").fill("https://example.com\nnowhere")
        preview = page.locator("iframe")
        await expect(preview).to_have_attribute("src", "/demo/" + pack("rating", "Wie gefällt’s? 🙂") + "/page")
        await expect(page.frame_locator("iframe").get_by_text("Wie gefällt’s? 🙂")).to_be_visible()
        await page.get_by_role("button", name="Make the widget").click()
        await expect(page.get_by_label("Sites that may show it")).to_be_focused()
        await expect(page.get_by_text("Must be an origin such as https://example.com")).to_be_visible()
        await page.get_by_label("Sites that may show it").fill("https://example.com\n\nhttp://localhost:8000")
        await page.get_by_role("button", name="Make the widget").dblclick()
        await expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()

        (widget,) = (await body(await user.get("/api/widgets")))["items"]
        assert widget["settings"]["allowed_origins"] == ["https://example.com", "http://localhost:8000"]
        snippet = f'<script async src="{url_of(client, "/widget.js")}" data-widget="{widget["id"]}"></script>'
        await expect(page.get_by_text(snippet)).to_be_visible()
        await expect(page.get_by_text("Not seen on your site yet")).to_be_visible()
        await page.get_by_label("An own colour").check()
        await page.get_by_label("Colour").first.fill("#aa0000")
        await page.get_by_label("Language").fill("de")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Saved.")).to_be_visible()
        changed = await body(await user.get(f"/api/widgets/{widget['id']}"))
        assert changed["settings"] == {**widget["settings"], "color": "#aa0000", "locale": "de"}

        await client.post(f"/api/widgets/{widget['id']}/events", json={"event": "view"})
        await page.get_by_role("link", name="Widgets").first.click()
        await expect(page.get_by_text("Seen on your site since")).to_be_visible()
        await page.get_by_role("button", name="Switch off").click()
        await expect(page.get_by_role("button", name="Switch on")).to_be_visible()
        await page.get_by_role("button", name=f"Delete {HOSTILE}").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("Make your first widget")).to_be_visible()
    assert (await body(await user.get("/api/widgets")))["items"] == []


def pack(kind: str, title: str) -> str:
    shown = {"type": kind, "theme": "auto", "settings": {"title": title}}
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_says_when_there_may_be_no_further_widget(client: TestClient, user: Person) -> None:
    for _ in range(3):
        await user.make_widget()
    async with browse(expected=REFUSED) as page:
        await sign_in(page, client, user, "/inbox/widgets/new")
        await page.get_by_label("Name").fill("One more")
        await page.get_by_role("button", name="Make the widget").click()
        await expect(page.get_by_role("alert")).to_have_text("A free account holds 3 widgets at most, a premium one 100.")


async def test_statistics_are_charts_with_tables(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(name="Score", type="nps")
    for event in ("view", "view", "open"):
        await client.post(f"/api/widgets/{widget['id']}/events", json={"event": event})
    for given in (10, 10, 3):
        await client.post(f"/api/widgets/{widget['id']}/feedback", json={"rating": given})
    async with browse() as page:
        await sign_in(page, client, user, f"/inbox/widgets/{widget['id']}/statistics")
        await expect(page.locator(".chart canvas")).to_have_count(2)
        await expect(page.get_by_role("heading", name="NPS 33")).to_be_visible()
        daily = page.get_by_role("region", name="Views, opens and submissions a day")
        await expect(daily.get_by_role("row")).to_have_count(31)
        await expect(daily.get_by_role("row").last.get_by_role("cell")).to_have_text(["2", "1", "3"])
        await page.get_by_role("button", name="7 days").click()
        await expect(daily.get_by_role("row")).to_have_count(8)
        ratings = page.get_by_role("region", name="How often each rating was given")
        await expect(ratings.get_by_role("row").last.get_by_role("cell")).to_have_text(["2"])
        await page.get_by_role("button", name="Show the table").first.click()
        await expect(daily).to_have_class("table-box")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_view_is_accessible_and_fits_a_phone(client: TestClient, user: Person, scheme: str) -> None:
    widget = await user.make_widget(name="W" * 100, type="rating")
    await client.post(f"/api/widgets/{widget['id']}/feedback", json={"rating": 4, "metadata": {"page": "x" * 300}})
    async with browse(color_scheme=scheme, viewport=PHONE) as page:
        await page.goto(url_of(client, "/inbox/signup"))
        assert await faults_of(page) == []
        await sign_in(page, client, user)
        await expect(rows(page)).to_have_count(1)
        assert await faults_of(page) == []
        await row(page, "No words").get_by_role("checkbox").check()
        assert await faults_of(page) == []
        await row(page, "No words").get_by_role("link").click()
        await expect(page.locator(".item")).to_be_visible()
        own = f"/widgets/{widget['id']}"
        for path in ("", "/widgets", "/widgets/new", own, f"{own}/statistics", "/settings"):
            if path:
                await page.goto(url_of(client, f"/inbox{path}"))
                await expect(page.get_by_role("heading", level=1)).to_be_visible()
            # The widget in the preview is looked at in its own tests.
            await page.evaluate("document.querySelector('iframe')?.remove()")
            assert await faults_of(page) == [], path
            assert not await is_too_wide(page), path
