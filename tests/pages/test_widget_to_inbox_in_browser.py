"""From a visitor's keyboard to the owner's open inbox, without a reload."""

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Page, expect

from tests.support.browsing import browse, needs_browser
from tests.support.owner_app import row, sign_in
from tests.support.people import Person
from tests.support.sites import Site, site_of
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, needs_browser]

KEYS = {
    "button": ("Tab", "Tab", "Enter"),
    "inline": ("Tab", "Tab"),
    "popup": (),
    "rating": ("Tab", "Tab", "ArrowRight", "Tab"),
    "nps": ("Tab", "Tab", "ArrowRight", "Tab"),
}
"""What leads from the top of the page into the widget's text field: past one link of the site."""


async def write(page: Page, site: Site, widget: dict[str, str], text: str) -> None:
    """Send a text through a widget by keyboard alone."""
    target = {} if widget["type"] in ("button", "popup") else {"target": "main"}
    await page.goto(site.show(site.tag(widget, **target)))
    if widget["type"] == "popup":
        await until(lambda: page.evaluate("Boolean(window.FeedbackWave?.open)"), "the widget")
        await page.evaluate("FeedbackWave.open()")
    elif widget["type"] == "button":
        await expect(page.get_by_role("button", name="Feedback")).to_be_visible()
    else:
        await expect(page.get_by_role("textbox")).to_be_visible()
    for key in KEYS[widget["type"]]:
        await page.keyboard.press(key)
    await expect(page.get_by_role("textbox")).to_be_focused()
    await page.keyboard.type(text)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status").filter(has_text="Thank you!")).to_be_visible()


async def test_each_type_used_by_keyboard_alone_appears_in_the_open_inbox(
    client: TestClient, make_user: object, user: Person, sql: object
) -> None:
    await sql.execute("UPDATE users SET is_premium = true WHERE id = $1", user.id)  # type: ignore[attr-defined]
    async with site_of(client) as site, browse() as inbox, browse() as visitor:
        await sign_in(inbox, client, user)
        for kind in KEYS:
            widget = await user.make_widget(name=f"A {kind}", type=kind)
            await write(visitor, site, widget, f"Through the {kind}")
            await expect(row(inbox, f"Through the {kind}")).to_be_visible()
            await expect(row(inbox, f"Through the {kind}")).to_contain_text(f"A {kind}")
        await expect(inbox).to_have_title("(5) Inbox - FeedbackWave")
