"""The page of the API's description, read and tried in a real browser."""

import json
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Locator, Page, expect

from fw.docs.openapi import describe
from fw.routes import ROUTES
from tests.support.browsing import browse, needs_browser
from tests.support.people import PASSWORD, Person

pytestmark = [pytest.mark.slow, needs_browser]


def url_of(client: TestClient, path: str) -> str:
    return str(client.make_url(path))


async def luminance(page: Page) -> float:
    """Tell how bright the page is behind its text, from 0 to 255."""
    color = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(float, color.removeprefix("rgb(").removesuffix(")").split(","))) / 3


async def opened(page: Page, operation: str) -> Locator:
    """Unfold an operation, ready to be tried."""
    block = page.locator(f"[id$='-{operation}'].opblock")
    await block.locator(".opblock-summary-control").click()
    await expect(block.locator(".execute")).to_be_visible()
    return block


async def executed(block: Locator) -> tuple[int, Any]:
    """Press Execute, and return the status and the body that the page shows."""
    await block.locator(".execute").click()
    row = block.locator(".live-responses-table tbody tr.response")
    await expect(row).to_be_visible()
    status = int((await row.locator(".response-col_status").inner_text()).split()[0])
    body = row.locator(".response-col_description .highlight-code pre")
    return status, json.loads(await body.first.inner_text()) if await body.count() else None


def patterns(part: Any) -> set[str]:
    """Find every pattern in a part of the description."""
    if isinstance(part, list):
        return {pattern for value in part for pattern in patterns(value)}
    if not isinstance(part, dict):
        return set()
    own = {part["pattern"]} if isinstance(part.get("pattern"), str) else set()
    return own | patterns(list(part.values()))


async def test_every_pattern_is_one_in_ecma_262_too() -> None:
    found = sorted(patterns(describe(ROUTES)))
    assert len(found) > 8
    async with browse() as page:
        for pattern in found:
            await page.evaluate("pattern => void new RegExp(pattern, 'u')", pattern)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_shows_every_operation_by_day_and_by_night(client: TestClient, scheme: str) -> None:
    async with browse(color_scheme=scheme) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(url_of(client, "/api/docs"))
        await expect(page.locator(".opblock")).to_have_count(len(ROUTES))
        assert (await luminance(page) > 200) == (scheme == "light")
        assert await page.evaluate("document.documentElement.classList.contains('dark-mode')") == (scheme == "dark")
        await page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
        assert (await luminance(page) > 200) == (scheme == "dark")
    here = url_of(client, "/")
    assert len(asked) >= 5
    assert [url for url in asked if not url.startswith((here, "data:"))] == []


async def test_registers_authorizes_and_tries(client: TestClient) -> None:
    name = f"u{uuid4().hex[:12]}"
    async with browse() as page:
        await page.goto(url_of(client, "/api/docs"))
        register = await opened(page, "auth_register")
        asked = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
        await register.locator("textarea").fill(json.dumps(asked))
        assert (await executed(register))[0] == 201

        await page.locator(".btn.authorize").click()
        await page.locator("#oauth_username").fill(name)
        await page.locator("#oauth_password").fill(PASSWORD)
        form = page.locator(".auth-container", has=page.get_by_role("heading", name="password (OAuth2"))
        await form.get_by_role("button", name="Apply given OAuth2 credentials").click()
        await expect(form.get_by_role("button", name="Remove authorization")).to_be_visible()
        await form.get_by_role("button", name="Close").click()

        status, me = await executed(await opened(page, "auth_me"))
        assert (status, me["username"], me["unread_count"]) == (200, name, 0)

        submit = await opened(page, "feedback_submit")
        await submit.locator("tr[data-param-name=ref] input").fill(name)
        # As the page proposes it.
        assert (await executed(submit))[0] == 201
        status, inbox = await executed(await opened(page, "feedback_list_inbox"))
        assert status == 200
        assert [item["message"] for item in inbox["items"]] == ["Well done!"]


async def test_proposes_bodies_with_one_of_what_excludes_another(client: TestClient) -> None:
    async with browse() as page:
        await page.goto(url_of(client, "/api/docs"))
        login = await opened(page, "auth_login")
        assert json.loads(await login.locator("textarea").input_value()).keys() == {"login", "password"}
        many = await opened(page, "feedback_mark_many")
        assert json.loads(await many.locator("textarea").input_value()) == {"up_to": 42}


async def test_takes_a_pasted_token(client: TestClient, user: Person) -> None:
    async with browse() as page:
        await page.goto(url_of(client, "/api/docs"))
        await page.locator(".btn.authorize").click()
        form = page.locator(".auth-container", has=page.get_by_text("The access_token of"))
        await form.locator("input").fill(user.token)
        await form.get_by_role("button", name="Apply credentials").click()
        await form.get_by_role("button", name="Close").click()
        status, me = await executed(await opened(page, "auth_me"))
        assert (status, me["id"]) == (200, user.id)


async def test_an_error_leads_to_its_page(client: TestClient) -> None:
    async with browse() as page:
        await page.goto(url_of(client, "/api/docs"))
        block = await opened(page, "users_public")
        async with page.expect_popup() as popup:
            await block.get_by_role("link", name="Not found").click()
        explained = await popup.value
        await expect(explained.get_by_role("heading", name="Not found")).to_be_visible()
        await explained.get_by_role("link", name="Problems").click()
        await explained.get_by_role("link", name="Too many requests").click()
        await expect(explained.get_by_text('"type": "/problems/too-many-requests"')).to_be_visible()
