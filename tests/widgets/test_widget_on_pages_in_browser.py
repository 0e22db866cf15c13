"""The widget on pages that are made in all sorts of ways: it is there once, and harms nothing."""

from uuid import uuid4

import pytest
from playwright.async_api import Page, expect

from fw.web.assets import STATIC
from tests.support.browsing import browse, needs_browser
from tests.support.people import Person
from tests.support.sites import Site, received
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, needs_browser]


async def send(page: Page, message: str) -> None:
    await page.get_by_role("textbox").fill(message)
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("status").filter(has_text="Thank you!")).to_be_visible()


async def test_it_needs_two_lines_of_a_policy_and_leaves_the_page_as_it_was(site: Site, user: Person) -> None:
    widget = await user.make_widget()
    asked: list[str] = []
    async with browse() as page:
        page.on("request", lambda request: asked.append(request.url))
        await page.add_init_script(
            "window.broken = []; addEventListener('securitypolicyviolation', event => broken.push(event.blockedURI))"
        )
        await page.goto(site.show())
        names = set(await page.evaluate("Object.keys(window)"))
        await page.goto(site.show(site.tag(widget)))
        await page.get_by_role("button", name="Feedback").click()
        await send(page, "Within the policy")
        assert await page.evaluate("broken") == []
        assert set(await page.evaluate("Object.keys(window)")) - names == {"FeedbackWave"}
        assert await page.evaluate("document.querySelectorAll('style, link').length + document.adoptedStyleSheets.length") == 0
    there = [url for url in asked if not url.startswith(site.url())]
    assert all(url.startswith(site.host) for url in there)
    assert len([url for url in there if url.endswith("/config")]) == 1


async def test_where_sheets_cannot_be_adopted_a_style_with_the_nonce_is(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="inline")
    site.policy += "; style-src 'nonce-abc'"
    async with browse() as page:
        await page.add_init_script(
            "delete ShadowRoot.prototype.adoptedStyleSheets; delete Document.prototype.adoptedStyleSheets"
        )
        await page.goto(site.show(site.tag(widget, nonce="abc")))
        form = page.get_by_role("region")
        await expect(form).to_be_visible()
        assert await form.evaluate("element => getComputedStyle(element).borderRadius") == "10px"


async def test_two_widgets_and_a_script_that_is_there_twice(site: Site, user: Person) -> None:
    button, nps = await user.make_widget(), await user.make_widget(type="nps", settings={"title": "Well?"})
    asked: list[str] = []
    async with browse() as page:
        page.on("request", lambda request: asked.append(request.url))
        tags = site.tag(button) * 2 + site.tag(nps) * 2
        await page.goto(
            site.show(tags, "<aside id=side></aside>", site.tag(nps, target="#side"), site.tag(nps, target="#side"))
        )
        await expect(page.get_by_role("button", name="Feedback")).to_have_count(1)
        await expect(page.get_by_role("region", name="Well?")).to_have_count(2)
        await expect(page.locator("#side").get_by_role("region")).to_have_count(1)
        await page.evaluate("FeedbackWave.open()")
        dialog = page.get_by_role("dialog")
        await dialog.get_by_role("textbox").fill("By the button")
        await dialog.get_by_role("button", name="Send").click()
        await expect(dialog.get_by_role("status")).to_have_text("Thank you!")
        await page.keyboard.press("Escape")
        side = page.locator("#side")
        await side.get_by_role("radio", name="9").press("Space")
        await side.get_by_role("button", name="Send").click()
        await expect(side.get_by_role("status")).to_have_text("Thank you!")
    assert sorted(url for url in asked if url.endswith("/config")) == sorted(
        f"{site.host}/api/widgets/{widget['id']}/config" for widget in (button, nps)
    )
    assert [message for message, _ in await received(user)] == ["By the button", ""]


async def test_a_page_that_swaps_its_body_keeps_it(site: Site, user: Person) -> None:
    button, inline = await user.make_widget(), await user.make_widget(type="inline")
    fresh = f"<h1>Another page</h1>{site.tag(inline)}{site.tag(button)}<aside></aside>"
    # As frameworks do it: scripts of the new body run, or do not.
    with_scripts = """html => {
      const fragment = document.createRange().createContextualFragment(html);
      const body = document.createElement("body");
      body.append(fragment);
      document.body.replaceWith(body);
    }"""
    without = "html => { document.documentElement.innerHTML = `<head></head><body>${html}</body>` }"
    async with browse() as page:
        await page.goto(site.show(site.tag(inline), site.tag(button)))
        for number, swap in enumerate((with_scripts, without, with_scripts)):
            await expect(page.get_by_role("region")).to_have_count(1)
            await page.evaluate("FeedbackWave.open()")
            await page.evaluate(swap, fresh)
            await expect(page.get_by_role("heading", name="Another page")).to_be_visible()
            await page.evaluate("FeedbackWave.close()")
            await expect(page.get_by_role("region")).to_have_count(1)
            await expect(page.get_by_role("button", name="Feedback")).to_have_count(1)
            await page.get_by_role("button", name="Feedback").click()
            await page.get_by_role("dialog").get_by_role("textbox").fill(f"After swap {number}")
            await page.get_by_role("dialog").get_by_role("button", name="Send").click()
            await expect(page.get_by_role("dialog").get_by_role("status")).to_have_text("Thank you!")
            await page.keyboard.press("Escape")
        await page.get_by_role("region").get_by_role("textbox").fill("And in the page")
        await page.get_by_role("region").get_by_role("button").click()
        await expect(page.get_by_role("region").get_by_role("status")).to_have_text("Thank you!")
    assert [message for message, _ in await received(user)] == [*(f"After swap {n}" for n in range(3)), "And in the page"]


async def test_a_target_may_come_later_and_come_back(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="rating")
    async with browse() as page:
        await page.goto(site.show(head=site.tag(widget, target="#later")))
        await page.wait_for_load_state("networkidle")
        await expect(page.get_by_role("region")).to_have_count(0)
        for _ in range(2):
            await page.evaluate("document.querySelector('main').innerHTML = '<div id=later></div>'")
            await expect(page.locator("#later").get_by_role("region")).to_be_visible()


async def test_a_page_that_takes_it_out_each_time_is_not_stuck(site: Site, user: Person) -> None:
    widget = await user.make_widget()
    async with browse() as page:
        await page.add_init_script(
            """window.taken = 0;
            new MutationObserver(() => {
              for (const element of document.querySelectorAll("html > div")) { element.remove(); taken++ }
            }).observe(document, {childList: true, subtree: true})"""
        )
        await page.goto(site.show(site.tag(widget)))

        async def is_taken_out_again() -> bool:
            return await page.evaluate("taken") > 2

        await until(is_taken_out_again, "the page to take it out again and again, and still answer")


async def test_a_widget_that_is_not_there_shows_nothing_and_says_nothing(site: Site, user: Person) -> None:
    inactive = await user.make_widget(is_active=False)
    async with browse(expected="status of 404") as page:
        for widget_id in (str(uuid4()), inactive["id"], "no id"):
            async with page.expect_response("**/config"):
                await page.goto(site.show(site.tag({"id": widget_id}, target="main")))
            await page.evaluate("FeedbackWave.open(); FeedbackWave.close(); FeedbackWave.identify({plan: 'free'})")
            assert await page.evaluate("document.querySelectorAll('div').length") == 0


async def test_commands_before_it_has_loaded_are_done_when_it_has(site: Site, user: Person) -> None:
    widget = await user.make_widget()
    early = """window.heard = [];
      window.FeedbackWave = window.FeedbackWave || [];
      FeedbackWave.push(["on", "open", () => { throw new Error("of the page's own") }]);
      FeedbackWave.push(["on", "open", detail => heard.push(detail.widget)]);
      FeedbackWave.push(["identify", {plan: "pro", page: "/of-their-own", rating: 77}]);
      FeedbackWave.push("nonsense", {}, ["unknown"], ["on", "unknown", 1]);
      FeedbackWave.push(["open"]);"""
    async with browse(expected="of the page's own") as page:
        await page.add_init_script(early)
        await page.goto(site.show(site.tag(widget)))
        await expect(page.get_by_role("dialog")).to_be_visible()
        await send(page, "Known")
        await page.evaluate("FeedbackWave.push(['close'])")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        assert await page.evaluate("heard") == [widget["id"]]
    assert await received(user) == [("Known", {"plan": "pro", "page": "/of-their-own"})]


async def test_focus_goes_back_to_what_opened_it(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="popup")
    async with browse() as page:
        await page.goto(site.show("<button id=own>Tell us</button>", site.tag(widget)))
        await expect(page.locator("dialog")).to_be_attached()
        await page.evaluate("void (document.querySelector('#own').onclick = () => FeedbackWave.open())")
        await page.get_by_role("button", name="Tell us").press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Tell us")).to_be_focused()


async def test_keys_typed_in_it_are_no_shortcuts_of_the_page(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="inline")
    async with browse() as page:
        await page.add_init_script("window.keys = ''; addEventListener('keydown', event => keys += event.key)")
        await page.goto(site.show(site.tag(widget)))
        await page.get_by_role("textbox").press_sequentially("jk")
        assert await page.evaluate("keys") == ""
        await expect(page.get_by_role("textbox")).to_have_value("jk")


async def test_what_identify_is_given_is_metadata_unless_it_is_too_much(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="inline")
    async with browse() as page:
        await page.goto(site.show(site.tag(widget), path="/pricing") + "?token=secret#secret")
        await expect(page.get_by_role("textbox")).to_be_visible()
        await page.evaluate("window.errors = 0; FeedbackWave.on('error', () => errors++)")
        await page.evaluate("FeedbackWave.identify({account: 'é'.repeat(1400)})")
        for wrong in ({"much": "é" * 1500}, "text", ["list"], None):
            await page.evaluate("value => FeedbackWave.identify(value)", wrong)
        await page.evaluate("FeedbackWave.identify(); const round = {}; round.round = round; FeedbackWave.identify(round)")
        assert await page.evaluate("errors") == 6
        await send(page, "Who am I?")
    assert await received(user) == [("Who am I?", {"page": site.url("/pricing"), "account": "é" * 1400})]


async def test_it_works_below_a_path_too(site: Site) -> None:
    async with browse(is_strict=False) as page:
        await page.route("**/below/widget.js", lambda route: route.fulfill(path=STATIC / "widget.js"))
        async with page.expect_request(f"{site.host}/below/api/widgets/1/config"):
            await page.goto(site.show(f'<script async src="{site.host}/below/widget.js" data-widget="1"></script>'))
