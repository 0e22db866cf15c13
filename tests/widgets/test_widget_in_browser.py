"""The widget as visitors meet it: each type by keyboard alone, its texts, languages and colours."""

from itertools import product

import pytest
from playwright.async_api import Locator, Page, expect

from tests.support.browsing import browse, needs_browser
from tests.support.people import Person, body
from tests.support.sites import Site, received
from tests.support.waiting import until

pytestmark = [pytest.mark.slow, needs_browser]

HOSTILE = """<style>
* { all: unset !important; display: none !important; font-size: 40px !important; color: red !important }
html, body, main { display: block !important }
html { font-size: 62%; filter: blur(0) }
body { transform: rotate(1deg); overflow: hidden }
html > div, main > div { position: absolute !important; left: -9999px !important; opacity: 0 !important }
div, main > div, html > div { visibility: hidden !important; transform: scale(0) !important; pointer-events: none !important }
@layer hostile { div { display: none !important; clip-path: inset(50%) !important } }
</style>"""

CONTRASTS = """element => {
  const channels = color => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const luminance = color => channels(color)
    .map(value => value / 255).map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const root = element.getRootNode();
  const style = (selector, pseudo) => getComputedStyle(root.querySelector(selector), pseudo);
  const ground = style("section").backgroundColor;
  const outline = style("label:has(:focus-visible)").outlineColor;
  return {
    button: contrast(style("#send").color, style("#send").backgroundColor),
    edge: contrast(style("#send").borderTopColor, ground),
    star: contrast(style("label:has(:checked)", "::after").color, ground),
    empty: contrast(style("label:last-child", "::after").color, ground),
    focus: contrast(outline, ground),
    title: contrast(style("h2").color, ground),
    placeholder: contrast(style("textarea", "::placeholder").color, ground),
  };
}"""


async def press(page: Page, *keys: str) -> None:
    for key in keys:
        await page.keyboard.press(key)


async def focused(page: Page) -> str:
    """Return the id or name of the element in the widget that has the focus."""
    return await page.evaluate(
        """() => {
          let found = document.activeElement;
          while (found?.shadowRoot?.activeElement) found = found.shadowRoot.activeElement;
          return found.id || found.name || found.localName;
        }"""
    )


def thanks(page: Page) -> Locator:
    return page.get_by_role("status").filter(has_text="Thank you!")


async def test_a_button_opens_a_dialog_that_keeps_the_focus_and_gives_it_back(site: Site, user: Person) -> None:
    widget = await user.make_widget()
    async with browse() as page:
        await page.goto(site.show(site.tag(widget)))
        launcher = page.get_by_role("button", name="Feedback")
        await expect(launcher).to_be_visible()
        await press(page, "Tab", "Tab")
        await expect(launcher).to_be_focused()
        await press(page, "Enter")
        dialog = page.get_by_role("dialog", name="What do you think?")
        await expect(dialog).to_be_visible()
        message = dialog.get_by_role("textbox", name="Your message")
        await expect(message).to_be_focused()
        assert {(await press(page, "Tab"), await focused(page))[1] for _ in range(6)} <= {"send", "close", "textarea", "body"}

        await press(page, "Escape")
        await expect(dialog).to_be_hidden()
        await expect(launcher).to_be_focused()

        await press(page, "Enter")
        await page.keyboard.type("  ")
        await press(page, "Tab", "Enter")
        await expect(page.get_by_role("status")).to_have_text("Please fill this in.")
        await expect(message).to_be_focused()
        await expect(message).to_have_attribute("aria-invalid", "true")
        await page.keyboard.type("Well done!")
        await expect(message).to_have_attribute("aria-invalid", "false")
        await press(page, "Tab", "Enter")
        await expect(thanks(page)).to_be_visible()
        await press(page, "Tab", "Enter")
        await expect(dialog).to_be_hidden()
        await expect(launcher).to_be_focused()

        await press(page, "Enter")
        await page.keyboard.type("And again.")
        await press(page, "Tab", "Enter")
        await expect(thanks(page)).to_be_visible()
    assert [message for message, _ in await received(user)] == ["Well done!", "And again."]


async def test_forms_in_the_page_are_used_by_keyboard_alone(site: Site, user: Person) -> None:
    inline, rating, nps = [await user.make_widget(type=name) for name in ("inline", "rating", "nps")]
    async with browse() as page:
        await page.goto(site.show(site.tag(inline)))
        form = page.get_by_role("region", name="What do you think?")
        await expect(form).to_be_visible()
        await press(page, "Tab", "Tab")
        await page.keyboard.type("In the page")
        await press(page, "Tab", "Enter")
        await expect(thanks(page)).to_be_focused()

        await page.goto(site.show(site.tag(rating)))
        await expect(page.get_by_role("radiogroup", name="What do you think?").get_by_role("radio")).to_have_count(5)
        await press(page, "Tab", "Tab", "Tab", "Tab", "Enter")
        await expect(page.get_by_role("status")).to_have_text("Please fill this in.")
        await expect(page.get_by_role("radio", name="1")).to_be_focused()
        await press(page, "Space", "ArrowRight", "ArrowRight", "ArrowRight")
        await expect(page.get_by_role("radio", name="4")).to_be_checked()
        await press(page, "Tab", "Tab", "Enter")
        await expect(thanks(page)).to_be_visible()

        await page.goto(site.show(site.tag(nps)))
        await expect(page.get_by_role("radiogroup", name="Would you recommend us?").get_by_role("radio")).to_have_count(11)
        await press(page, "Tab", "Tab", "ArrowLeft", "Tab")
        await page.keyboard.type("Sure")
        await press(page, "Tab", "Enter")
        await expect(thanks(page)).to_be_visible()
    here = {"page": site.url()}
    assert await received(user) == [("In the page", here), ("", {**here, "rating": 4}), ("Sure", {**here, "rating": 10})]


async def test_a_popup_opens_once_a_visit_and_not_while_somebody_types(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="popup")
    async with browse() as page:
        await page.clock.install()
        await page.goto(site.show("<input aria-label=Name>", site.tag(widget)))
        dialog = page.get_by_role("dialog")
        await page.get_by_label("Name").focus()
        await expect(page.locator("dialog")).to_be_attached()
        await page.clock.fast_forward(10_000)
        await expect(dialog).to_be_hidden()
        await page.get_by_label("Name").blur()
        await page.clock.fast_forward(10_000)
        await expect(dialog).to_be_visible()
        await page.keyboard.type("From a popup")
        await press(page, "Tab", "Enter")
        await expect(thanks(page)).to_be_visible()
        await press(page, "Escape")
        await expect(dialog).to_be_hidden()

        await page.reload()
        await expect(page.locator("dialog")).to_be_attached()
        await page.clock.fast_forward(30_000)
        await expect(dialog).to_be_hidden()
        await page.evaluate("FeedbackWave.open()")
        await expect(dialog).to_be_visible()
    assert [message for message, _ in await received(user)] == ["From a popup"]


async def test_no_style_of_a_page_reaches_it(site: Site, user: Person) -> None:
    button, inline = await user.make_widget(settings={"position": "bottom-left"}), await user.make_widget(type="inline")
    site.policy += "; style-src 'unsafe-inline'"
    shots = []
    async with browse(viewport={"width": 900, "height": 700}) as page:
        for head in (HOSTILE, "<style>html { background: #fff }</style>"):
            await page.goto(site.show(site.tag(button), site.tag(inline), head=head))
            launcher, form = page.get_by_role("button", name="Feedback"), page.get_by_role("region")
            await expect(launcher).to_be_visible()
            await expect(form).to_be_visible()
            box = await launcher.bounding_box()
            assert box
            assert (box["x"], round(box["y"] + box["height"])) == (20, 680)
            await launcher.click()
            dialog = page.get_by_role("dialog")
            await expect(dialog).to_be_visible()
            await dialog.evaluate("element => Promise.all(element.getAnimations().map(animation => animation.finished))")
            shots.append(await dialog.screenshot())
            style = await form.evaluate(
                "element => { const s = getComputedStyle(element); return [s.color, s.fontSize, s.opacity] }"
            )
            assert style == ["rgb(27, 37, 48)", "16px", "1"]
    assert shots[0] == shots[1]


async def test_the_owners_texts_go_before_ours_and_are_text(site: Site, user: Person) -> None:
    evil = "<img src=x onerror=\"document.title='evil'\"></style><script>document.title='evil'</script>"
    settings = {"title": evil, "placeholder": evil, "submit_label": evil, "thank_you": evil}
    widget = await user.make_widget(type="inline", settings=settings)
    async with browse() as page:
        await page.goto(site.show(site.tag(widget)))
        await expect(page.get_by_role("heading", name=evil)).to_be_visible()
        await page.get_by_role("textbox", name=evil).fill(evil)
        await page.get_by_role("button", name=evil).click()
        await expect(page.get_by_role("status")).to_have_text(evil)
        assert await page.title() == "Site"
    assert [message for message, _ in await received(user)] == [evil]


async def test_it_speaks_the_language_of_its_tag_its_settings_its_page_or_its_visitor(site: Site, user: Person) -> None:
    plain = await user.make_widget(type="inline")
    french = await user.make_widget(type="inline", settings={"locale": "fr-CA"})
    cases = [
        (site.tag(french, locale="nl-BE"), "lang=de", "Versturen"),
        (site.tag(french), "lang=de", "Envoyer"),
        (site.tag(plain), "lang=de-AT", "Senden"),
        (site.tag(plain), "lang=sv", "Invia"),
        (site.tag(plain), "", "Invia"),
        (site.tag(plain, locale="xx"), "lang=ja", "送信"),
        (site.tag(plain), "lang=zh-Hant", "发送"),
        (site.tag(plain), "lang=PT-br", "Enviar"),
    ]
    async with browse(locale="it-IT") as page:
        for tag, attributes, expected in cases:
            await page.goto(site.show(tag, attributes=attributes))
            await expect(page.get_by_role("button")).to_have_text(expected)
        await page.goto(site.show(site.tag(plain), attributes="lang=ar"))
        await expect(page.get_by_role("button", name="إرسال")).to_be_visible()
        assert await page.get_by_role("textbox").evaluate("element => getComputedStyle(element).direction") == "rtl"
        button, message = await page.get_by_role("button").bounding_box(), await page.get_by_role("textbox").bounding_box()
        assert button
        assert message
        assert button["x"] == message["x"]


async def test_every_colour_can_be_read(site: Site, user: Person) -> None:
    widget = await user.make_widget(type="rating")
    async with browse() as page:
        # What is intercepted is not taken from the browser's cache, where the last colours are.
        await page.route("**/config", lambda route: route.continue_())
        for theme, color in product(
            ("light", "dark"), ("#ffff00", "#ffffff", "#000000", "#777777", "#767676", "#ff6600", None)
        ):
            changed = {"theme": theme, "settings": {"color": color} if color else {}}
            await body(await user.put(f"/api/widgets/{widget['id']}", json=changed))
            await page.goto(site.show(site.tag(widget)))
            await page.get_by_role("radio", name="2").press("Space")
            found = await page.get_by_role("textbox").evaluate(CONTRASTS)
            assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}, (theme, color)
            fill = await page.locator("#send").evaluate("element => getComputedStyle(element).backgroundColor")
            if color:
                assert fill == f"rgb({', '.join(str(int(color[i : i + 2], 16)) for i in (1, 3, 5))})"


async def test_auto_follows_the_visitors_scheme_and_light_does_not(site: Site, user: Person) -> None:
    auto, light = await user.make_widget(type="inline", theme="auto"), await user.make_widget(type="inline")
    async with browse(color_scheme="dark") as page:
        await page.goto(site.show(site.tag(auto), site.tag(light)))
        forms = page.get_by_role("region")
        await expect(forms).to_have_count(2)
        grounds = "elements => elements.map(element => getComputedStyle(element).backgroundColor).sort()"
        assert await forms.evaluate_all(grounds) == ["rgb(20, 25, 29)", "rgb(255, 255, 255)"]
        await page.emulate_media(color_scheme="light")
        assert await forms.evaluate_all(grounds) == ["rgb(255, 255, 255)"] * 2


async def test_long_words_and_small_screens_break_nothing(site: Site, user: Person) -> None:
    long = "x" * 200
    settings = {"title": long, "placeholder": long, "submit_label": long, "thank_you": long}
    button, nps = await user.make_widget(settings=settings), await user.make_widget(type="nps")
    async with browse(viewport={"width": 390, "height": 760}, reduced_motion="reduce") as page:
        await page.goto(site.show(site.tag(button), site.tag(nps)))
        for box in [await tile.bounding_box() for tile in await page.get_by_role("radio").all()]:
            assert box
            assert min(box["width"], box["height"]) >= 40
        await page.get_by_role("button", name="Feedback").click()
        dialog = page.get_by_role("dialog")
        assert await dialog.evaluate("element => element.getAnimations().length") == 0
        await dialog.get_by_role("textbox").fill("x" * 5000)
        await expect(dialog.get_by_text("5000 / 5000")).to_be_visible()
        box = await dialog.bounding_box()
        assert box
        assert (box["x"], box["width"], box["y"] + box["height"]) == (0, 390, 760)
        assert await dialog.evaluate("element => element.scrollWidth <= element.clientWidth")
        # Characters are counted as the server counts them: one, although JavaScript has two.
        await dialog.get_by_role("textbox").fill("🙂" * 5000 + "!")
        await dialog.get_by_role("button", name=long).click()
        await expect(page.get_by_role("status").filter(has_text="5001 / 5000")).to_be_visible()
        await dialog.get_by_role("textbox").fill("🙂" * 5000)
        await dialog.get_by_role("button", name=long).click()
        await expect(page.get_by_role("status").filter(has_text=long)).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") == 390
    assert [message for message, _ in await received(user)] == ["🙂" * 5000]


async def test_a_view_and_an_opening_are_counted_once_a_page(site: Site, user: Person) -> None:
    button, below = await user.make_widget(), await user.make_widget(type="inline")
    site.policy += "; style-src 'unsafe-inline'"

    async def counts(widget: dict[str, str]) -> tuple[int, int]:
        totals = (await body(await user.get(f"/api/widgets/{widget['id']}/stats")))["totals"]
        return totals["views"], totals["opens"]

    async with browse() as page:
        await page.goto(site.show(site.tag(button), "<p style='height:3000px'></p>", site.tag(below)))
        launcher = page.get_by_role("button", name="Feedback")
        for _ in range(3):
            await launcher.click()
            await page.keyboard.press("Escape")

        async def is_counted() -> bool:
            return await counts(button) == (1, 1)

        await until(is_counted, "one view and one opening")
        assert await counts(below) == (0, 0)
        field = page.get_by_role("region").get_by_role("textbox")
        await field.focus()
        await field.fill("Not sent")

        async def is_seen() -> bool:
            return await counts(below) == (1, 1)

        await until(is_seen, "the view of a form further down, and its opening")
        assert await counts(button) == (1, 1)
