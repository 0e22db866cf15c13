"""The owner's app in a browser, as its owner handles it."""

from aiohttp.test_utils import TestClient
from playwright.async_api import Locator, Page, expect

from tests.support.people import Person

REFUSED = r"status of 4\d\d|net::ERR_"
"""What the browser says of a request that is refused or lost."""
PHONE = {"width": 390, "height": 780}


def url_of(client: TestClient, path: str) -> str:
    return str(client.make_url(path))


async def sign_in(page: Page, client: TestClient, owner: Person, path: str = "/inbox") -> None:
    """Open the app, sign in by the form, and wait until the inbox is live."""
    await page.goto(url_of(client, path))
    await fill_in(page, owner)


async def fill_in(page: Page, owner: Person) -> None:
    """Sign in by the form that is shown, and wait until the inbox is live."""
    await page.get_by_label("Username or e-mail").fill(owner.username)
    await page.get_by_label("Password").fill(owner.password)
    await page.keyboard.press("Enter")
    await is_live(page)


async def is_live(page: Page) -> None:
    await expect(page.locator(".dot.live")).to_be_visible()


def rows(page: Page) -> Locator:
    return page.locator(".row")


def row(page: Page, text: str) -> Locator:
    return page.locator(".row", has_text=text)


async def texts(page: Page) -> list[str]:
    """Return the messages of the list, from its top."""
    found: list[list[str]] = await page.evaluate(
        "[...document.querySelectorAll('.row')].map(row => [row.ariaPosInSet, row.querySelector('.row-text').textContent])"
    )
    return [text for _, text in sorted(found, key=lambda pair: int(pair[0]))]


async def is_too_wide(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth > innerWidth"))
