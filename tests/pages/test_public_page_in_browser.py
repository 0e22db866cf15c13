"""The public page and the pages around it in a real browser."""

import re
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Page, expect

from tests.conftest import MakeClient, MakeUser
from tests.support.accessibility import faults_of
from tests.support.browsing import browse, needs_browser
from tests.support.people import PASSWORD, Person

pytestmark = [pytest.mark.slow, needs_browser]

REFUSED = r"status of 4\d\d|net::ERR_FAILED"
"""What the browser says of a request that is refused or lost."""
PHONE = {"width": 390, "height": 780}


def url_of(client: TestClient, path: str) -> str:
    return str(client.make_url(path))


async def is_too_wide(page: Page) -> bool:
    return bool(await page.evaluate("document.documentElement.scrollWidth > innerWidth"))


async def test_sends_by_keyboard_alone_and_says_thanks_in_place(client: TestClient, user: Person) -> None:
    async with browse() as page:
        await page.goto(url_of(client, f"/u/{user.username}"))
        await page.keyboard.press("Tab")
        await expect(page.get_by_label("What do you think?")).to_be_focused()
        await page.keyboard.type("By keyboard, with <b>no markup</b>")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.locator("#thanks")).to_be_focused()
        await expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
        await expect(page.get_by_label("What do you think?")).to_be_hidden()
        assert page.url.endswith(f"/u/{user.username}")
    assert (await user.inbox())["items"][0]["message"] == "By keyboard, with <b>no markup</b>"


async def test_works_without_javascript(client: TestClient, user: Person) -> None:
    async with browse(java_script_enabled=False, expected=REFUSED) as page:
        await page.goto(url_of(client, f"/u/{user.username}"))
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("alert")).to_have_text("Write a message first.")
        await page.get_by_label("What do you think?").fill("\nWithout\n\nscripts")
        await page.get_by_role("button", name="Send").dblclick()
        await expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
        await page.go_back()
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    # Whatever was sent twice is stored once.
    assert [item["message"] for item in (await user.inbox())["items"]] == ["Without\n\nscripts"]


async def test_counts_characters_as_the_server_does(client: TestClient, user: Person) -> None:
    async with browse(expected=REFUSED) as page:
        await page.goto(url_of(client, f"/u/{user.username}"))
        box, count = page.get_by_label("What do you think?"), page.locator("#count")
        await expect(count).to_be_hidden()
        await box.fill("👋" * 4990)
        await expect(count).to_have_text("10 left")
        await box.fill("👋" * 5001)
        await expect(count).to_have_text("1 too many")
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("alert")).to_have_text("A message has at most 5,000 characters; this one has 5,001.")
        await expect(box).to_be_focused()
        await box.fill("👋" * 5000)
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("#thanks")).to_be_visible()


async def test_a_lost_connection_keeps_the_text_and_a_second_try_stores_once(client: TestClient, user: Person) -> None:
    async with browse(expected=REFUSED) as page:
        await page.goto(url_of(client, f"/u/{user.username}"))
        box, send = page.get_by_label("What do you think?"), page.get_by_role("button", name="Send")
        await box.fill("Twice")
        lost = 0

        async def lose_the_answer(route) -> None:  # type: ignore[no-untyped-def]
            nonlocal lost
            lost += 1
            await route.fetch()
            await route.abort()

        await page.route("**/api/feedback/**", lose_the_answer, times=1)
        await send.click()
        await expect(page.get_by_role("alert")).to_contain_text("There is no connection.")
        await expect(box).to_have_value("Twice")
        await send.click()
        await expect(page.locator("#thanks")).to_be_visible()
    assert lost == 1
    assert (await user.inbox())["total_count"] == 1


async def test_the_limit_is_told_in_words(make_client: MakeClient, make_user: MakeUser) -> None:
    client = await make_client(rate_limits={"submission-inbox": (1, 60), "submission": (60, 60)})
    user = await make_user(client=client)
    await user.receive()
    async with browse(expected=REFUSED) as page:
        await page.goto(url_of(client, f"/u/{user.username}"))
        await page.get_by_label("What do you think?").fill("One more")
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("alert")).to_have_text(re.compile(r"Try again in \d+ seconds\."))
        await expect(page.get_by_label("What do you think?")).to_have_value("One more")


async def test_a_form_of_another_site_sends_here(client: TestClient, user: Person) -> None:
    async with browse() as page:
        target = url_of(client, f"/u/{user.username}")
        form = f'<form method=post action="{target}"><input name=message value=Hi><button>Go</button></form>'
        await page.route("**/elsewhere", lambda route: route.fulfill(content_type="text/html", body=form))
        await page.goto(url_of(client, "/elsewhere").replace("127.0.0.1", "localhost"))
        await page.get_by_role("button", name="Go").click()
        await expect(page.get_by_role("heading", name="Thank you")).to_be_visible()
    assert (await user.inbox())["total_count"] == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_are_accessible_and_fit_a_phone(client: TestClient, user: Person, scheme: str) -> None:
    long = f"W{'x' * 28}"
    await user.put("/api/users/profile", json={"username": f"{long[:17]}{uuid4().hex[:12]}"})
    name = (await (await user.get("/api/auth/me")).json())["username"]
    async with browse(color_scheme=scheme, viewport=PHONE, expected=REFUSED) as page:
        for path in ("/", f"/u/{name}", f"/u/{name}/thanks", "/u/nobody-at-all", "/forgot", "/reset#token=x", "/reset"):
            await page.goto(url_of(client, path))
            assert await faults_of(page) == []
            assert not await is_too_wide(page), path
        await page.goto(url_of(client, f"/u/{name}"))
        await page.get_by_label("What do you think?").fill("x" * 5001)
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("alert")).to_contain_text("at most")
        assert await faults_of(page) == []
        assert not await is_too_wide(page)


async def test_a_reset_link_sets_a_password_and_its_token_stays_in_no_history(client: TestClient, user: Person, sql) -> None:  # type: ignore[no-untyped-def]
    from fw.web.links import token_hash

    await sql.execute(
        "INSERT INTO password_resets (user_id, token_hash, expires_at, email_key) SELECT id, $2, now() + interval '1 hour',"
        " email_key FROM users WHERE id = $1",
        user.id,
        token_hash("a-token-of-the-test"),
    )
    asked: list[str] = []
    async with browse(expected=REFUSED) as page:
        page.on("request", lambda request: asked.append(request.url))
        await page.goto(url_of(client, "/reset#token=a-token-of-the-test"))
        box = page.get_by_label("New password")
        await box.fill("12345678")
        await page.get_by_role("button", name="Set the password").click()
        await expect(page.get_by_role("alert")).not_to_be_empty()
        await box.fill(PASSWORD + "?")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Done")).to_be_visible()
        assert "token" not in page.url
        await page.goto(url_of(client, "/reset#token=a-token-of-the-test"))
        await page.reload()
        await box.fill(PASSWORD + "!")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("has been used")
    assert not [url for url in asked if "a-token" in url.partition("#")[0]]
    response = await client.post("/api/auth/login", json={"login": user.email, "password": PASSWORD + "?"})
    assert response.status == 200
