"""What links in mails lead to, in a real browser: verifying an address, a forgotten password, no more mails."""

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import expect

from tests.conftest import MakeClient
from tests.support.accessibility import faults_of
from tests.support.browsing import browse, needs_browser
from tests.support.people import Person, body, make_person, nothing
from tests.support.postbox import Postbox, html, link

pytestmark = [pytest.mark.slow, needs_browser]

REFUSED = r"status of 4\d\d"
PHONE = {"width": 390, "height": 780}


@pytest.fixture
async def client(make_client: MakeClient, box: Postbox) -> TestClient:
    return await make_client(**box.settings)


@pytest.fixture
async def user(client: TestClient) -> Person:
    return await make_person(client)


def here(client: TestClient, address: str) -> str:
    """Return a link of a mail with the address of the server of the test."""
    return str(client.make_url("/")) + address.split("/", 3)[3]


async def test_a_button_verifies_and_the_token_stays_in_no_history(client: TestClient, user: Person, box: Postbox) -> None:
    address = here(client, link(await box.mail(user.email), "verify"))
    asked: list[str] = []
    async with browse(expected=REFUSED) as page:
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(address)
        assert not (await body(await user.get("/api/auth/me")))["email_verified"]
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.locator("#done")).to_be_focused()
        assert "token" not in page.url
        assert (await body(await user.get("/api/auth/me")))["email_verified"]
        await page.goto(address)
        await page.reload()
        await page.get_by_role("button", name="This is my address").click()
        await expect(page.get_by_role("alert")).to_contain_text("has been used")
    assert not [url for url in asked if address.partition("token=")[2] in url.partition("#")[0]]


async def test_a_forgotten_password_without_javascript(client: TestClient, user: Person, box: Postbox) -> None:
    async with browse(java_script_enabled=False, expected=REFUSED) as page:
        await page.goto(str(client.make_url("/forgot")))
        await page.get_by_label("Your e-mail address").fill(user.email)
        await page.get_by_role("button", name="Mail me a link").click()
        await expect(page.get_by_role("status")).to_contain_text("If there is an account")
    await box.mail(user.email, "Set a new password")


async def test_unsubscribing_without_javascript(client: TestClient, user: Person, box: Postbox) -> None:
    address = here(client, link(await box.mail(user.email), "verify"))
    await nothing(await client.post("/api/auth/verify", json={"token": address.partition("token=")[2]}))
    await body(await user.put("/api/users/notifications", json={"mail": "each"}))
    await user.receive()
    address = here(client, link(await box.mail(user.email, "New feedback"), "unsubscribe"))
    async with browse(java_script_enabled=False) as page:
        await page.goto(address)
        await page.get_by_role("button", name="Turn them off").click()
        await expect(page.get_by_role("status")).to_contain_text("They are turned off")
    assert (await body(await user.get("/api/users/notifications")))["mail"] == "off"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_and_mails_are_accessible_and_fit_a_phone(
    client: TestClient, user: Person, box: Postbox, scheme: str
) -> None:
    mail = await box.mail(user.email)
    async with browse(color_scheme=scheme, viewport=PHONE, expected=REFUSED) as page:
        for path in ("/forgot", "/verify#token=x", "/verify", "/unsubscribe?token=x"):
            await page.goto(str(client.make_url("/")) + path[1:])
            await page.reload()
            assert await faults_of(page) == []
            assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), path
        # Not under the policy of a page.
        await page.goto("about:blank")
        await page.set_content(html(mail))
        assert await faults_of(page) == []
        assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth")
