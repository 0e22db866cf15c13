"""Signing in, and the settings of an account, in a real browser."""

import asyncio
import re
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Route, expect

from tests.conftest import MakeClient, MakeUser
from tests.support.browsing import browse, needs_browser
from tests.support.owner_app import PHONE, REFUSED, fill_in, is_live, rows, sign_in, url_of
from tests.support.people import PASSWORD, Person, body, problem

pytestmark = [pytest.mark.slow, needs_browser]


async def test_errors_of_signing_up_and_in_are_told_in_place(client: TestClient, user: Person) -> None:
    name = f"u{uuid4().hex[:12]}"
    async with browse(expected=REFUSED) as page:
        await page.goto(url_of(client, "/inbox/signup"))
        await page.get_by_label("E-mail").fill(user.email)
        await page.get_by_label("Username").fill("a!")
        await page.get_by_label("Password").fill("short")
        await page.get_by_role("button", name="Sign up").click()
        await expect(page.get_by_label("Username")).to_be_focused()
        await expect(page.get_by_label("Username")).to_have_accessible_description(re.compile("3 to 30 letters .A-Z."))
        await expect(page.get_by_label("Password")).to_have_attribute("aria-invalid", "true")
        await page.get_by_label("Username").fill(name)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign up").click()
        await expect(page.get_by_text("Another account has this e-mail address.")).to_be_visible()
        await page.get_by_label("E-mail").fill(f"{name}@example.com")
        await page.get_by_role("button", name="Sign up").dblclick()
        await is_live(page)
        # There is nothing to do here for whoever is signed in.
        await page.goto(url_of(client, "/inbox/signup"))
        await is_live(page)
        assert page.url == url_of(client, "/inbox")
        await page.get_by_role("button", name="Sign out").click()

        await page.get_by_label("Username or e-mail").fill(name)
        await page.get_by_label("Password").fill("not the right one")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_have_text("No account has this name and password.")
        await expect(page.get_by_role("alert")).to_be_focused()
        await expect(page.get_by_role("link", name="Forgotten your password?")).to_have_attribute("href", "/forgot")


async def test_what_comes_late_for_one_account_is_not_shown_to_the_next(client: TestClient, make_user: MakeUser) -> None:
    """A further page that came after the sign-out stayed in the list of whoever signed in next in that tab."""
    first, second = await make_user(), await make_user()
    for number in range(130):
        await first.receive(f"for the first, {number}")
    await second.receive("for the second")
    may_come = asyncio.Event()
    is_held = asyncio.Event()

    async def hold(route: Route) -> None:
        response = await route.fetch()
        is_held.set()
        await may_come.wait()
        await route.fulfill(response=response)

    async with browse() as page:
        await sign_in(page, client, first)
        await page.route("**/api/feedback?*after=*", hold)
        await page.mouse.move(300, 400)
        await page.mouse.wheel(0, 100_000)
        await asyncio.wait_for(is_held.wait(), 20)
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_text("You are signed out.")).to_be_visible()
        may_come.set()
        await fill_in(page, second)
        await expect(rows(page)).to_have_count(1)
        await expect(rows(page)).to_contain_text("for the second")


@pytest.mark.usefixtures("no_attempts_yet")
async def test_a_limit_is_told_with_the_time_to_wait(make_client: MakeClient, make_user: MakeUser) -> None:
    client = await make_client(rate_limits={"login": (1, 60), "login-account": (1, 60)})
    user = await make_user(client=client)
    async with browse(expected=REFUSED) as page:
        await page.goto(url_of(client, "/inbox"))
        await page.get_by_label("Username or e-mail").fill(user.username)
        await page.get_by_label("Password").fill("not the right one")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("No account")
        await page.keyboard.press("Shift+Tab")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_have_text(re.compile(r"Please try again in \d+ (second|minute)s?\."))


async def test_a_session_that_ended_elsewhere_leads_to_signing_in_and_back(client: TestClient, user: Person) -> None:
    await user.receive("still here")
    async with browse(expected=REFUSED) as page:
        await sign_in(page, client, user, "/inbox/settings")
        await expect(page.get_by_role("heading", name="Settings")).to_be_visible()
        await user.delete("/api/auth/sessions")
        await expect(page.get_by_text("Your session has ended. Please sign in again.")).to_be_visible()
        await page.get_by_label("Username or e-mail").fill(user.email)
        await page.get_by_label("Password").fill(user.password)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Settings")).to_be_visible()
        await page.get_by_role("link", name="Inbox").click()
        await expect(rows(page)).to_have_count(1)


async def test_changes_the_profile_and_the_password(client: TestClient, user: Person) -> None:
    name = f"n{uuid4().hex[:12]}"
    async with browse(expected=REFUSED) as page:
        await sign_in(page, client, user, "/inbox/settings")
        profile = page.locator("section", has=page.get_by_role("heading", name="Profile"))
        await profile.get_by_label("Username").fill(name)
        await profile.get_by_label("E-mail").fill(f"{name}@example.com")
        await profile.get_by_label("Picture").fill("http://example.com/a.png")
        await profile.get_by_label("Current password").fill("not the right one")
        await profile.get_by_role("button", name="Save").click()
        await expect(profile.get_by_label("Picture")).to_have_attribute("aria-invalid", "true")
        await profile.get_by_label("Picture").fill("")
        await profile.get_by_role("button", name="Save").click()
        await expect(profile.get_by_label("Current password")).to_have_attribute("aria-invalid", "true")
        await profile.get_by_label("Current password").fill(user.password)
        await profile.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Your profile is saved.")).to_be_visible()
        await expect(page.locator(".self .name")).to_have_text(name)

        password = page.locator("section", has=page.get_by_role("heading", name="Password"))
        await password.get_by_label("Current password").fill(user.password)
        await password.get_by_label("New password").fill("another good one")
        await password.get_by_role("button", name="Change the password").click()
        await expect(page.get_by_text("The password is changed.")).to_be_visible()
        await page.get_by_label("Play a sound").check()
        await page.reload()
        await expect(page.get_by_label("Play a sound")).to_be_checked()
    logged_in = await client.post("/api/auth/login", json={"username": name, "password": "another good one"})
    assert (await body(logged_in))["user"]["email"] == f"{name}@example.com"
    await problem(await user.get("/api/auth/me"), 401, "unauthorized")


async def test_signs_out_everywhere(client: TestClient, user: Person) -> None:
    async with browse() as page:
        await sign_in(page, client, user, "/inbox/settings")
        await page.get_by_role("button", name="Sign out everywhere").click()
        await expect(page.get_by_text("You are signed out everywhere.")).to_be_visible()
    await problem(await user.get("/api/auth/me"), 401, "unauthorized")


async def test_deletes_the_account_with_its_name_typed_in(client: TestClient, user: Person) -> None:
    async with browse(viewport=PHONE, expected=REFUSED) as page:
        await sign_in(page, client, user, "/inbox/settings")
        section = page.locator("section", has=page.get_by_role("heading", name="Delete the account"))
        erase = section.get_by_role("button", name="Delete my account")
        await expect(erase).to_be_disabled()
        await section.get_by_label("Type your username").fill(user.username)
        await section.get_by_label("Current password").fill("not the right one")
        await erase.click()
        await expect(section.get_by_label("Current password")).to_have_attribute("aria-invalid", "true")
        await section.get_by_label("Current password").fill(user.password)
        await erase.click()
        await expect(page.get_by_text("Your account is deleted.")).to_be_visible()
    await problem(await client.get(f"/api/users/{user.username}"), 404, "not-found")
