"""Webhooks, and what is mailed, in a real browser: as their owner sets them up and sees what became of them."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Literal
from urllib.parse import quote

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from playwright.async_api import Locator, Page, expect

from fw.config import Config
from fw.outbox import worker
from fw.webhooks import courier
from tests.conftest import MakeClient, MakeUser
from tests.support.accessibility import faults_of
from tests.support.browsing import browse, needs_browser
from tests.support.owner_app import PHONE, REFUSED, is_too_wide, sign_in, url_of
from tests.support.people import Person, body, nothing
from tests.support.receiver import Receiver, attempted, make_webhook, receiving

pytestmark = [pytest.mark.slow, needs_browser]

HOSTILE = "<img src=x onerror=alert(1)>"
SECRET = re.compile("whsec_.+")


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, webhook_allow_private=True)


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    """A receiver; what it does not take is not tried again by itself, and holds up nothing else."""
    monkeypatch.setattr(courier, "DELAYS", (3600.0,) * 7)
    monkeypatch.setattr(courier, "JITTER", 0.0)
    monkeypatch.setattr(courier, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(worker, "SWEEP_SECONDS", 0.05)
    async with receiving() as found:
        yield found


def refuse(receiver: Receiver) -> None:
    receiver.answer = lambda got: web.Response(status=500)


def delivery(page: Page, number: int) -> Locator:
    return page.locator(".delivery").nth(number)


async def test_a_webhook_is_made_by_keyboard_and_its_secret_shown_once(
    client: TestClient, user: Person, receiver: Receiver
) -> None:
    async with browse(expected=REFUSED) as page:
        await sign_in(page, client, user, "/inbox/settings")
        await page.get_by_role("link", name="Open the webhooks").press("Enter")
        await expect(page.get_by_role("heading", name="Webhooks")).to_be_focused()
        await page.get_by_role("link", name="Make your first webhook").press("Enter")
        await expect(page.get_by_role("heading", name="New webhook")).to_be_focused()
        for key in ("Tab", "f", "t", "p", ":", "Tab", "Space", "Enter"):
            await page.keyboard.press(key)
        await expect(page.get_by_label("Address")).to_be_focused()
        await expect(page.get_by_label("Address")).to_have_accessible_description(re.compile("Must be an https:// address"))
        await expect(page.get_by_text("Choose at least one.")).to_be_visible()
        await page.keyboard.press("ControlOrMeta+a")
        await page.keyboard.type(receiver.url)
        for key in ("Tab", "Space", "Tab", "Tab", "Space", "Tab"):
            await page.keyboard.press(key)
        await page.keyboard.type("Our chat")
        await page.keyboard.press("Enter")

        await expect(page.get_by_role("heading", name="The secret")).to_be_focused()
        await expect(page.get_by_text("it is shown now, and not again")).to_be_visible()
        secret = await page.get_by_text(SECRET).inner_text()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("button", name="Copy the secret")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Copied", exact=True)).to_be_visible()
        (webhook,) = (await body(await user.get("/api/webhooks")))["items"]
        assert (webhook["description"], webhook["events"]) == ("Our chat", ["feedback.created", "feedback.deleted"])
        await nothing(await user.post(f"/api/webhooks/{webhook['id']}/test"), 202)
        (await receiver.has(1))[0].check(secret)

        await page.reload()
        await expect(page.get_by_role("heading", name="Our chat")).to_be_visible()
        await expect(page.get_by_text(SECRET)).to_have_count(0)
        await page.get_by_role("button", name="New secret").press("Enter")
        await page.get_by_role("button", name="Make a new one").press("Enter")
        await expect(page.get_by_role("heading", name="The new secret")).to_be_focused()
        newer = await page.get_by_text(SECRET).inner_text()
        assert newer != secret
        await nothing(await user.post(f"/api/webhooks/{webhook['id']}/test"), 202)
        for key in (secret, newer):
            (await receiver.has(2))[1].check(key)
        await page.get_by_role("link", name="Webhooks").press("Enter")
        await page.get_by_role("link", name="Our chat", exact=True).press("Enter")
        await expect(page.get_by_role("heading", name="Deliveries")).to_be_visible()
        await expect(page.get_by_text(SECRET)).to_have_count(0)


async def test_deliveries_tell_why_they_failed_and_are_sent_again(
    client: TestClient, user: Person, receiver: Receiver, sql: asyncpg.Connection
) -> None:
    webhook = await make_webhook(user, receiver.url)
    await sql.execute(
        "INSERT INTO deliveries (user_id, webhook_id, id, type, attempts, delivered_at)"
        " SELECT $1, $2, ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'ping', 1, now()"
        " FROM generate_series(1, 25) AS n",
        *(user.id, webhook["id"]),
    )
    asked: list[str] = []
    async with browse(expected=REFUSED) as page:
        page.on("request", lambda request: asked.append(request.url))
        await sign_in(page, client, user, f"/inbox/webhooks/{webhook['id']}")
        await expect(page.locator(".delivery")).to_have_count(20)
        await page.get_by_role("button", name="Show older ones").press("Enter")
        await expect(page.locator(".delivery")).to_have_count(25)
        await expect(page.get_by_text("That is all of the last 30 days.")).to_be_focused()
        await page.get_by_role("button", name="Send a test").click()
        await expect(page.locator(".delivery")).to_have_count(26)
        await expect(delivery(page, 0)).to_contain_text(re.compile("ping.*Delivered.*1 attempt"))
        await expect(page.get_by_text("ping: Delivered.")).to_have_attribute("role", "status")

        refuse(receiver)
        await user.receive()
        await page.get_by_role("button", name="Send a test").click()
        await expect(delivery(page, 0)).to_contain_text(re.compile("ping.*Given up.*The answer was 500."))
        await expect(delivery(page, 1)).to_contain_text(re.compile("created.*Next attempt in 60 minutes.*The answer was 500."))
        await expect(page.get_by_text("On, but failing since")).to_be_visible()

        receiver.answer = lambda got: web.Response()
        await page.get_by_role("button", name="Send again: ping").first.click()
        await expect(delivery(page, 0)).to_contain_text(re.compile("Delivered.*2 attempts"))
        await page.get_by_role("button", name="Resend failed").click()
        await page.get_by_role("dialog").get_by_role("button", name="Send again").click()
        await expect(page.get_by_text("1 delivery on the way.")).to_be_visible()
        await expect(delivery(page, 1)).to_contain_text(re.compile("Delivered.*2 attempts"))
        await expect(page.get_by_text("On", exact=True)).to_be_visible()
        # Nothing waits any more: nothing is asked.
        asked.clear()
        await asyncio.sleep(1.8)
        assert asked == []

        await page.get_by_role("button", name="Turn off").click()
        await expect(page.get_by_text("While it is turned off")).to_be_visible()
        await expect(page.get_by_role("button", name="Send again: ping")).to_have_count(0)
        await page.get_by_label("Description").fill("Elsewhere")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("heading", name="Elsewhere")).to_be_visible()
        await page.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.get_by_role("link", name="Make your first webhook")).to_be_visible()
    assert (await body(await user.get("/api/webhooks")))["items"] == []


async def test_settings_of_mails_are_kept_and_tell_of_an_address_that_is_not_verified(
    make_client: MakeClient, make_user: MakeUser, sql: asyncpg.Connection
) -> None:
    client = await make_client(rate_limits={"verification": (1, 3600)})
    user = await make_user(client=client)
    async with browse(expected=REFUSED, timezone_id="Asia/Tokyo") as page:
        await sign_in(page, client, user, "/inbox/settings")
        mails = page.locator("section", has=page.get_by_role("heading", name="By mail"))
        await expect(mails.get_by_label("Time zone")).to_have_value("Asia/Tokyo")
        await mails.get_by_label("Mails of new feedback").select_option("One a day, at 8 in the morning")
        await expect(mails.get_by_text("They do not come yet")).to_be_visible()
        await mails.get_by_role("button", name="Send the link again").click()
        await expect(mails.get_by_role("status")).to_have_text(f"A link is on its way to {user.email}.")
        await mails.get_by_role("button", name="Send the link again").click()
        await expect(mails.get_by_role("status")).to_have_text(re.compile(r"That was too often. Please try again in \d+ "))
        await mails.get_by_label("Time zone").select_option("America/New York")
        await mails.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Saved.")).to_be_visible()
        chosen = {"mail": "daily", "timezone": "America/New_York"}
        assert await body(await user.get("/api/users/notifications")) == chosen

        await page.reload()
        await expect(mails.get_by_label("Mails of new feedback")).to_have_value("daily")
        await expect(mails.get_by_label("Time zone")).to_have_value("America/New_York")
        # Whoever has opened the link comes back.
        await sql.execute("UPDATE users SET email_verified_at = now() WHERE id = $1", user.id)
        await page.evaluate("dispatchEvent(new Event('focus'))")
        await expect(page.get_by_text("not verified")).to_have_count(0)


async def test_hostile_texts_are_texts_and_all_of_it_is_accessible_on_a_phone(
    client: TestClient, user: Person, receiver: Receiver, sql: asyncpg.Connection
) -> None:
    refuse(receiver)
    long = "x" * 1500
    webhook = await make_webhook(user, f"{receiver.url}?{quote(HOSTILE)}{long}", description=HOSTILE)
    off = await make_webhook(user, receiver.url, description="W" * 200)
    await user.receive(HOSTILE)
    for each in (webhook, off):
        await attempted(user, each)
    await sql.execute("UPDATE deliveries SET error = $2 WHERE user_id = $1", user.id, HOSTILE + long)
    await sql.execute("UPDATE webhooks SET is_active = false, disabled_reason = $2 WHERE id = $1", off["id"], HOSTILE)
    async with browse(viewport=PHONE, expected=REFUSED, reduced_motion="reduce") as page:

        async def check(*schemes: Literal["light", "dark"]) -> None:
            for scheme in schemes:
                await page.emulate_media(color_scheme=scheme)
                assert await faults_of(page) == [], scheme
            assert not await is_too_wide(page)

        await sign_in(page, client, user, "/inbox/webhooks")
        await expect(page.get_by_role("link", name=HOSTILE, exact=True)).to_be_visible()
        await expect(page.get_by_text(f"Turned off. {HOSTILE}")).to_be_visible()
        await check("light")
        await page.get_by_role("link", name=HOSTILE, exact=True).click()
        await expect(page.get_by_text(f"{HOSTILE}xxx")).to_be_visible()
        await page.get_by_role("button", name="New secret").click()
        await page.get_by_role("button", name="Make a new one").click()
        await expect(page.get_by_text(SECRET)).to_be_visible()
        await check("light", "dark")
        await page.get_by_role("button", name="Resend failed").click()
        await check("dark")
        await page.goto(url_of(client, "/inbox/webhooks/new"))
        await page.get_by_label("Address").fill("javascript:alert(1)")
        await page.get_by_role("button", name="Make the webhook").click()
        await expect(page.get_by_label("Address")).to_be_focused()
        await check("dark")
        await page.goto(url_of(client, "/inbox/settings"))
        await page.get_by_label("Mails of new feedback").select_option("each")
        await check("light", "dark")
        assert await page.locator("img[src=x]").count() == 0
