"""What the widget sends, keeps and sends later: each submission is stored once."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.support.browsing import browse, needs_browser
from tests.support.people import Person
from tests.support.sites import Site, received
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, needs_browser]

FAILED = "Failed to load resource"
"""What the browser itself says of each request that fails."""
SAVED = "Saved. It will be sent later."
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
PENDING = "Object.keys(localStorage).filter(name => name.startsWith('feedbackwave:')).length"
HEARD = """window.heard = [];
const events = ["open", "close", "submit", "error"];
window.FeedbackWave = events.map(event => ["on", event, detail => heard.push([event, detail])]);"""


def answering(status: int, **headers: str) -> Callable[[Route], Any]:
    return lambda route: route.fulfill(status=status, headers={**CORS, **headers}, body="{}")


async def write(page: Page, message: str) -> None:
    await page.get_by_role("textbox").fill(message)
    await page.get_by_role("button", name="Send").click()


async def status(page: Page, text: str) -> None:
    await expect(page.get_by_role("status")).to_have_text(text)


async def pends(page: Page, count: int) -> None:
    """Wait until this many submissions are kept."""

    async def does() -> bool:
        return await page.evaluate(PENDING) == count

    await until(does, f"{count} that are kept")


async def messages(owner: Person) -> list[str]:
    return [message for message, _ in await received(owner)]


async def has_received(owner: Person, *expected: str) -> None:
    async def all_of_them() -> bool:
        return sorted(await messages(owner)) == sorted(expected)

    await until(all_of_them, f"{expected} in the inbox")


async def test_what_is_written_offline_is_sent_once_when_online(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="inline")
    async with browse(expected=FAILED) as page:
        await page.add_init_script(HEARD)
        await page.goto(site.show(site.tag(widget)))
        await page.get_by_role("textbox").fill("Written in a tunnel")
        await page.context.set_offline(True)
        await page.get_by_role("button", name="Send").click()
        await status(page, SAVED)
        assert await page.evaluate(PENDING) == 1
        assert await page.evaluate("heard") == [["error", {"widget": widget["id"], "status": None, "kept": True}]]
        await page.context.set_offline(False)
        await status(page, "Thank you!")
        assert await page.evaluate(PENDING) == 0
        assert await page.evaluate("heard.at(-1)") == ["submit", {"widget": widget["id"], "status": 201, "kept": False}]
        await page.reload()
        await expect(page.get_by_role("textbox")).to_be_visible()
    assert await messages(user) == ["Written in a tunnel"]


async def test_what_the_server_cannot_take_now_is_sent_when_it_says(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="rating")
    codes = (408, 429, 500, 503)
    async with browse(expected=FAILED) as page:
        await page.clock.install()
        for code in codes:
            await page.goto(site.show(site.tag(widget)))
            await page.route("**/feedback", answering(code, **{"Retry-After": "60"}))
            await page.get_by_role("radio", name="5").press("Space")
            await write(page, f"After {code}")
            await status(page, SAVED)
            await page.unroute("**/feedback")
            await page.clock.fast_forward(55_000)
            assert await messages(user) == [f"After {earlier}" for earlier in codes[: codes.index(code)]]
            await page.clock.fast_forward(6_000)
            await status(page, "Thank you!")
    expected = {"page": site.url(), "rating": 5}
    assert await received(user) == [(f"After {code}", expected) for code in codes]


async def test_what_waits_survives_a_reload_and_two_tabs_and_is_stored_once(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="inline")
    url = site.show(site.tag(widget))
    under_way: list[Route] = []
    together = []

    async def count(route: Route) -> None:
        under_way.append(route)
        together.append(len(under_way))
        response = await route.fetch()
        under_way.remove(route)
        await route.fulfill(response=response)

    async with browse(expected=FAILED) as page:
        context = page.context
        await context.route("**/feedback", answering(503))
        for number in range(3):
            await page.goto(url)
            await write(page, f"Message {number}")
            await status(page, SAVED)
        assert await page.evaluate(PENDING) == 3
        # Nothing of what this page sends is under way when the tabs begin.
        await page.goto("about:blank")
        await context.unroute("**/feedback")
        await context.route("**/feedback", count)
        tabs = [page, await context.new_page(), await context.new_page()]
        await asyncio.gather(*(tab.goto(url) for tab in tabs))
        await has_received(user, "Message 0", "Message 1", "Message 2")
        await pends(page, 0)
    # One may send what another one has just sent: a browser's tabs do not see at once what another one has removed.
    assert len(together) >= 3
    assert set(together) == {1}, "tabs have sent at the same time"


async def test_a_reload_while_it_is_being_sent_loses_nothing_and_stores_nothing_twice(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="inline")
    url = site.show(site.tag(widget))
    stored = asyncio.Event()

    async def store_and_never_answer(route: Route) -> None:
        await route.fetch()
        stored.set()

    async with browse(expected=FAILED) as page:
        await page.goto(url)
        await page.route("**/feedback", store_and_never_answer, times=1)
        await write(page, "On my way")
        await asyncio.wait_for(stored.wait(), 10)
        assert await page.evaluate(PENDING) == 1
        await page.goto(url)
        await pends(page, 0)
    assert await messages(user) == ["On my way"]


async def test_a_double_click_sends_once(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="inline")
    sent = []
    async with browse() as page:
        page.on("request", lambda request: sent.append(request.method) if request.url.endswith("/feedback") else None)
        await page.goto(site.show(site.tag(widget)))
        await page.get_by_role("textbox").fill("Once")
        await page.get_by_role("button", name="Send").evaluate(
            "button => { button.click(); button.click(); button.form.requestSubmit() }"
        )
        await status(page, "Thank you!")
    assert sent.count("POST") == 1
    assert await messages(user) == ["Once"]


async def test_a_refusal_is_told_and_the_text_stays(site: Site, user: Person) -> None:
    widget = await user.make_widget(settings={"allowed_origins": ["https://elsewhere.example"]})
    async with browse(expected=FAILED) as page:
        await page.add_init_script(HEARD)
        await page.goto(site.show(site.tag(widget)))
        await page.get_by_role("button", name="Feedback").click()
        await write(page, "From the wrong site")
        await status(page, "This could not be sent.")
        await expect(page.get_by_role("textbox")).to_have_value("From the wrong site")
        assert await page.evaluate(PENDING) == 0
        error = {"widget": widget["id"], "status": 403, "kept": False}
        assert await page.evaluate("heard") == [["open", {"widget": widget["id"]}], ["error", error]]
        await user.put(f"/api/widgets/{widget['id']}", json={"settings": {}})
        await page.get_by_role("button", name="Send").click()
        await status(page, "Thank you!")
    assert await messages(user) == ["From the wrong site"]


async def test_at_most_20_are_kept_and_the_next_stays_in_its_form(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="inline")
    async with browse(expected=FAILED) as page:
        await page.route("**/feedback", answering(503))
        await page.goto(site.show(site.tag(widget)))
        await page.evaluate("for (let i = 0; i < 19; i++) localStorage['feedbackwave:' + i] = '{}'")
        await write(page, "The twentieth")
        await status(page, SAVED)
        await page.reload()
        await write(page, "One too many")
        await status(page, "This could not be sent.")
        await expect(page.get_by_role("textbox")).to_have_value("One too many")
        assert await page.evaluate(PENDING) == 20
        await page.unroute("**/feedback")
        await page.get_by_role("button", name="Send").click()
        await status(page, "Thank you!")
        await page.reload()
        await has_received(user, "The twentieth", "One too many")


async def test_what_a_full_storage_does_not_take_stays_in_its_form(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="inline")
    async with browse(expected=FAILED) as page:
        await page.route("**/feedback", answering(503))
        await page.goto(site.show(site.tag(widget)))
        await page.evaluate("localStorage.full = 'x'.repeat(5 * 1024 * 1024 - 4)")
        await write(page, "No room")
        await status(page, "This could not be sent.")
        await expect(page.get_by_role("textbox")).to_have_value("No room")


@pytest.mark.parametrize(
    "storage",
    [
        "for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, {get() { throw 1 }})",
        "Object.defineProperty(window, 'localStorage', {value: null}); delete navigator.__proto__.locks",
    ],
    ids=["that throws", "that is null, and no locks"],
)
async def test_without_storage_it_keeps_what_it_cannot_send_for_the_page(site: Site, user: Person, storage: str) -> None:
    widget = await user.make_widget()
    async with browse(expected=FAILED) as page:
        await page.add_init_script(storage)
        await page.goto(site.show(site.tag(widget)))
        await page.get_by_role("button", name="Feedback").click()
        await page.context.set_offline(True)
        await write(page, "No room")
        await status(page, SAVED)
        await page.context.set_offline(False)
        await status(page, "Thank you!")
    assert await messages(user) == ["No room"]


async def test_a_config_that_fails_is_asked_for_once_more(site: Site, user: Person) -> None:
    widget = await user.make_widget()
    async with browse(expected=FAILED) as page:
        await page.route("**/config", answering(503), times=1)
        await page.clock.install()
        await page.goto(site.show(site.tag(widget)))
        await page.wait_for_load_state("networkidle")
        await page.clock.fast_forward(6_000)
        await expect(page.get_by_role("button", name="Feedback")).to_be_visible()
