"""The live inbox in a real browser."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp.test_utils import TestClient
from playwright.async_api import Request, expect

from tests.support.browsing import browse, needs_browser
from tests.support.owner_app import PHONE, REFUSED, is_live, is_too_wide, row, rows, sign_in, texts, url_of
from tests.support.people import PASSWORD, Person
from tests.support.processes import SETTINGS, fw
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, needs_browser]

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
KILOBYTE = 1024


async def test_signs_up_by_keyboard_alone_and_sees_feedback_slide_in(client: TestClient) -> None:
    name = f"u{uuid4().hex[:12]}"
    async with browse() as page:
        await page.goto(url_of(client, "/inbox/signup"))
        await expect(page.get_by_label("E-mail")).to_be_focused()
        for text in (f"{name}@example.com", name, PASSWORD):
            await page.keyboard.type(text)
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Your inbox is ready")).to_be_visible()
        assert page.url == url_of(client, "/inbox")
        await expect(page.get_by_text(url_of(client, f"/u/{name}"))).to_be_visible()
        await expect(page.get_by_role("link", name="Make your first widget")).to_be_visible()
        await is_live(page)

        async with page.expect_popup() as popup:
            await page.get_by_role("link", name="Open in a new tab").click()
        public = await popup.value
        await public.get_by_label("What do you think?").fill("Hello from the other tab")
        await public.get_by_role("button", name="Send").click()
        await expect(row(page, "Hello from the other tab")).to_be_visible()
        await expect(page).to_have_title("(1) Inbox - FeedbackWave")
        assert "%3E1%3C%2Ftext" in str(await page.locator("link[rel=icon]").get_attribute("href"))
        await expect(page.locator(".badge")).to_have_text("1 unread")
        await expect(page.get_by_text("New feedback: Hello from the other tab")).to_be_attached()


async def test_marks_one_many_and_ranges(client: TestClient, user: Person) -> None:
    for number in range(6):
        await user.receive(f"number {number}")
    async with browse() as page:
        await sign_in(page, client, user)
        await expect(page).to_have_title(re.compile(r"^\(6\)"))
        # Opening an item reads it.
        await row(page, "number 5").get_by_role("link").click()
        await expect(page.locator(".message")).to_have_text("number 5")
        await expect(page).to_have_title(re.compile(r"^\(5\)"))
        await page.get_by_role("button", name="Mark unread").click()
        await expect(page).to_have_title(re.compile(r"^\(6\)"))

        async def unread() -> set[str]:
            return {item["message"] for item in (await user.inbox())["items"] if not item["is_read"]}

        await row(page, "number 4").get_by_role("checkbox").click()
        await row(page, "number 1").get_by_role("checkbox").click(modifiers=["Shift"])
        await expect(page.get_by_text("4 selected")).to_be_visible()
        await page.get_by_role("toolbar").get_by_role("button", name="Mark read").click()
        await expect(page).to_have_title(re.compile(r"^\(2\)"))
        await until(lambda: equals(unread, {"number 0", "number 5"}), "four items to be read")
        await expect(page.locator(".row.unread")).to_have_count(2)

        await row(page, "number 4").get_by_role("checkbox").click()
        await row(page, "number 2").get_by_role("checkbox").click(modifiers=["Shift"])
        await page.get_by_role("toolbar").get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("3 items deleted", exact=True)).to_be_visible()
        await expect(row(page, "number 1").get_by_role("link")).to_be_focused()


async def equals(read, expected) -> bool:  # type: ignore[no-untyped-def]
    return bool(await read() == expected)


async def test_every_key_does_what_the_sheet_says(client: TestClient, user: Person) -> None:
    for number in range(4):
        await user.receive(f"number {number}")
    async with browse() as page:
        await sign_in(page, client, user)
        await expect(rows(page)).to_have_count(4)
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)

        for key, focused in (("j", "number 3"), ("j", "number 2"), ("j", "number 1"), ("k", "number 2")):
            await page.keyboard.press(key)
            await expect(row(page, focused).get_by_role("link")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Public page")).to_be_focused()
        await expect(page.locator(".row.unread")).to_have_count(3)
        await page.keyboard.press("u")
        await expect(page.locator(".row.unread")).to_have_count(4)
        await page.keyboard.press("j")
        await expect(page.locator(".message")).to_have_text("number 1")
        await page.keyboard.press("Escape")
        await expect(page.locator(".item")).to_have_count(0)
        await expect(row(page, "number 1").get_by_role("link")).to_be_focused()

        await page.keyboard.press("x")
        await page.keyboard.press("k")
        await expect(row(page, "number 2").get_by_role("link")).to_be_focused()
        await page.keyboard.press("k")
        await expect(row(page, "number 3").get_by_role("link")).to_be_focused()
        await page.keyboard.press("Shift+X")
        await expect(page.get_by_text("3 selected")).to_be_visible()
        await page.keyboard.press("#")
        await expect(rows(page)).to_have_count(1)
        await page.keyboard.press("z")
        await expect(rows(page)).to_have_count(4)
        await page.keyboard.press("/")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await page.keyboard.type("number #0")
        await expect(page.get_by_text("Nothing here matches.")).to_be_visible()
    assert (await user.inbox())["total_count"] == 4


async def test_deletes_nothing_until_the_undo_has_gone(client: TestClient, user: Person) -> None:
    for number in range(3):
        await user.receive(f"number {number}")
    async with browse() as page:
        await sign_in(page, client, user)
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.post_data or "") if request.method == "POST" else None)
        await row(page, "number 2").get_by_role("link").focus()
        await page.keyboard.press("#")
        await expect(rows(page)).to_have_count(2)
        await expect(page).to_have_title(re.compile(r"^\(2\)"))
        await page.get_by_role("button", name="Undo").click()
        await expect(rows(page)).to_have_count(3)
        await expect(page).to_have_title(re.compile(r"^\(3\)"))
        await page.keyboard.press("#")
        await expect(rows(page)).to_have_count(2)
        # Another device still has all of it.
        assert ((await user.inbox())["total_count"], sent) == (3, [])
        await expect(page.get_by_role("button", name="Undo")).to_have_count(0)
        await until(lambda: equals_count(user, 2), "the item to be deleted")
        await expect(rows(page)).to_have_count(2)

        # Whoever leaves has no way back any more.
        await row(page, "number 1").get_by_role("link").focus()
        await page.keyboard.press("#")
        await expect(rows(page)).to_have_count(1)
        await page.goto(url_of(client, "/health"))
        await until(lambda: equals_count(user, 1), "the item to be deleted as the page is left")


async def equals_count(owner: Person, count: int) -> bool:
    return bool((await owner.inbox())["total_count"] == count)


async def test_searches_and_filters_by_what_the_address_says(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    await put(sql, user, "long ago", datetime.now(UTC) - timedelta(days=60))
    widget = await user.make_widget(name="Footer")
    await client.post(f"/api/widgets/{widget['id']}/feedback", json={"message": "from the footer"})
    read = await user.receive("already read")
    await user.patch(f"/api/feedback/{read}/read")
    await user.receive("what is new")
    async with browse() as page:
        await sign_in(page, client, user, "/inbox")
        await expect(rows(page)).to_have_count(4)
        await page.get_by_role("searchbox").fill("IS NEW")
        await expect(rows(page)).to_have_count(1)
        assert page.url.endswith("/inbox?q=IS+NEW")
        # A new item is tried against the filters.
        await user.receive("this is new too")
        await user.receive("not this one")
        await expect(rows(page)).to_have_count(2)
        await expect(page).to_have_title(re.compile(r"^\(5\)"))
        await page.get_by_role("button", name="Show all").click()
        await expect(rows(page)).to_have_count(6)

        await page.get_by_label("Widget").select_option("Footer")
        await expect(rows(page)).to_have_count(1)
        assert f"widget={widget['id']}" in page.url
        await page.go_back()
        await expect(rows(page)).to_have_count(6)
        await page.get_by_role("button", name="Unread", exact=True).click()
        await expect(row(page, "already read")).to_have_count(0)
        await expect(rows(page)).to_have_count(5)
        await page.get_by_label("Days").select_option("Last 7 days")
        await expect(rows(page)).to_have_count(4)
        await page.reload()
        await is_live(page)
        await expect(rows(page)).to_have_count(4)
        await page.get_by_label("Days").select_option("From … to …")
        await page.get_by_label("to", exact=True).fill((datetime.now(UTC) - timedelta(days=20)).date().isoformat())
        await expect(row(page, "long ago")).to_have_count(1)
        await expect(rows(page)).to_have_count(1)


async def put(sql: asyncpg.Connection, owner: Person, message: str, newest: datetime, count: int = 1) -> None:
    """Put items into an empty inbox, each a second older than the one before."""
    await sql.execute(
        """
        SELECT (inbox_append(
            $1,
            array_agg(made.id),
            array_agg(made.moment),
            array_fill(NULL::uuid, ARRAY[$4::integer]),
            array_fill(NULL::inet, ARRAY[$4::integer]),
            array_agg(made.message),
            array_fill(NULL::json, ARRAY[$4::integer]),
            NULL,
            NULL
        )).new_cursor
        FROM (
            SELECT
                moment,
                (
                    lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0')
                    || '70008'
                    || lpad(to_hex(n), 15, '0')
                )::uuid AS id,
                CASE $4::integer WHEN 1 THEN $2 ELSE $2 || ' ' || n END AS message
            FROM generate_series(1, $4::integer) AS n, LATERAL (SELECT $3::timestamptz - n * interval '1 second' AS moment) AS m
        ) AS made
        """,
        UUID(owner.id),
        message,
        newest,
        count,
    )


async def test_two_tabs_and_another_device_stay_in_step(client: TestClient, user: Person) -> None:
    for number in range(3):
        await user.receive(f"number {number}")
    async with browse() as page:
        await sign_in(page, client, user)
        other = await page.context.new_page()
        await other.goto(url_of(client, "/inbox"))
        await is_live(other)
        await page.bring_to_front()
        await row(page, "number 0").get_by_role("link").click()
        await expect(other).to_have_title(re.compile(r"^\(2\)"))
        await expect(row(other, "number 0")).not_to_have_class(re.compile("unread"))
        newest = (await user.inbox())["items"][0]["id"]
        await user.delete(f"/api/feedback/{newest}")
        for tab in (page, other):
            await expect(row(tab, "number 2")).to_have_count(0)
            await expect(tab).to_have_title(re.compile(r"^\(1\)"))
        # Own changes and their echo are counted once.
        await page.keyboard.press("u")
        await page.keyboard.press("u")
        await page.keyboard.press("u")
        for tab in (page, other):
            await expect(tab).to_have_title(re.compile(r"^\(2\)"))
        await page.get_by_role("button", name="Sign out").click()
        for tab in (page, other):
            await expect(tab.get_by_text("You are signed out.")).to_be_visible()
            await expect(tab).to_have_title("Sign in - FeedbackWave")
        await page.go_back()
        await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        await expect(rows(page)).to_have_count(0)


async def test_a_server_that_restarts_is_found_again_and_nothing_is_missed(
    client: TestClient, user: Person, database_url: str, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "DATABASE_URL": database_url, "FW_JWT_SECRET": "x" * 40}
    async with browse(expected=REFUSED) as page:
        async with fw("serve", folder=tmp_path, **settings) as server:
            url = await server.url()
            await page.goto(f"{url}/inbox")
            await page.get_by_label("Username or e-mail").fill(user.username)
            await page.get_by_label("Password").fill(user.password)
            await page.keyboard.press("Enter")
            await is_live(page)
            await server.stop()
            await expect(page.locator(".dot.lost")).to_be_attached()
            await expect(page.get_by_text("The connection is lost.")).to_be_attached()
        # While there is no server to see it, feedback comes in at another one.
        await user.receive("while it was away")
        async with fw("serve", folder=tmp_path, PORT=url.rpartition(":")[2], **settings) as server:
            await server.url()
            await is_live(page)
            await expect(row(page, "while it was away")).to_be_visible()
            await expect(page).to_have_title(re.compile(r"^\(1\)"))
            await user.receive("and live again")
            await expect(rows(page)).to_have_count(2)


async def test_a_resync_reads_the_list_anew(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    await user.receive("kept")
    async with browse() as page:
        await sign_in(page, client, user)
        await expect(rows(page)).to_have_count(1)
        # As after a restore: what was changed before cannot be told one by one any more.
        await sql.execute("UPDATE inboxes SET cursor = cursor + 1000, horizon = cursor + 1000 WHERE user_id = $1", user.id)
        await user.receive("after the restore")
        await expect(rows(page)).to_have_count(2)
        assert await texts(page) == ["after the restore", "kept"]
        await expect(page).to_have_title(re.compile(r"^\(2\)"))
        await user.receive("live again")
        await expect(rows(page)).to_have_count(3)
        await expect(page).to_have_title(re.compile(r"^\(3\)"))


async def test_what_people_wrote_is_text_and_fits_a_phone(client: TestClient, user: Person) -> None:
    widget = await user.make_widget(name=HOSTILE[:100])
    metadata = {HOSTILE: HOSTILE, "page": {"path": "/pricing", "tags": ["a", HOSTILE]}, "rating": 4}
    await client.post(f"/api/widgets/{widget['id']}/feedback", json={"message": HOSTILE, "metadata": metadata})
    await user.receive("x" * 5000)
    await user.receive("شكرا جزيلا على هذا الموقع")
    async with browse(viewport=PHONE) as page:
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        await sign_in(page, client, user)
        await expect(rows(page)).to_have_count(3)
        assert not await is_too_wide(page)
        await row(page, "xxxx").get_by_role("link").click()
        await expect(page.locator(".message")).to_have_text("x" * 5000)
        await expect(page.locator(".list-pane")).to_be_hidden()
        assert not await is_too_wide(page)
        await page.get_by_role("button", name="Back to the list").click()
        await row(page, "شكرا").get_by_role("link").click()
        assert await page.locator(".message").evaluate("element => getComputedStyle(element).direction") == "rtl"
        await page.go_back()
        await row(page, "<img").get_by_role("link").click()
        await expect(page.locator(".message")).to_have_text(HOSTILE)
        await expect(page.locator(".item h2")).to_have_text(HOSTILE[:100])
        await expect(page.locator(".metadata")).to_contain_text("path: /pricing")
        await expect(page.locator(".metadata")).to_contain_text(f"- {HOSTILE}")
        assert not await is_too_wide(page)
        assert await page.locator(".item img, .item script, .row img").count() == 0


async def test_10_000_items_scroll_to_the_end_with_few_rows(client: TestClient, user: Person, sql: asyncpg.Connection) -> None:
    await put(sql, user, "number", datetime.now(UTC) - timedelta(hours=1), 10_000)
    async with browse() as page:
        await sign_in(page, client, user)
        await expect(page.locator(".badge")).to_contain_text("999+")
        most = await page.evaluate(
            """async () => {
                const scroller = document.querySelector(".scroller");
                const seen = text => [...document.querySelectorAll(".row-text")].some(row => row.textContent === text);
                let most = 0;
                while (!seen("number 10000")) {
                    scroller.scrollTop = scroller.scrollHeight;
                    await new Promise(requestAnimationFrame);
                    most = Math.max(most, document.querySelectorAll(".row").length);
                }
                return most;
            }"""
        )
        assert most < 60
        assert await page.locator(".scroller ul").evaluate("list => list.scrollHeight") > 800_000
        # What comes now does not move what is being read.
        await user.receive("something new")
        await expect(row(page, "number 10000")).to_be_in_viewport()
        await page.get_by_role("button", name="1 new item").click()
        await expect(row(page, "something new")).to_be_in_viewport()


def keep(loaded: list[Request], request: Request) -> None:
    loaded.append(request)


async def test_the_first_load_is_small_and_each_module_is_announced(client: TestClient, user: Person) -> None:
    async with browse() as page:
        await sign_in(page, client, user)
        sizes: dict[str, int] = {}
        loaded: list[Request] = []
        page.on("requestfinished", lambda request: keep(loaded, request))
        await page.reload(wait_until="networkidle")
        await is_live(page)
        for request in loaded:
            size = await request.sizes()
            sizes[request.url] = size["responseBodySize"]
        assert sum(sizes.values()) < 70 * KILOBYTE, json.dumps(sizes, indent=1)
        announced = await page.evaluate("[...document.querySelectorAll('link[rel=modulepreload]')].map(link => link.href)")
        assert sorted(announced) == sorted(url for url in sizes if url.endswith(".js"))
