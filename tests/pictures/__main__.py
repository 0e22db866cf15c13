"""Takes the README's pictures: the inbox, a widget on a site, and the statistics. Run by `make pictures`."""

import asyncio
import random
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from playwright.async_api import Browser, Page, async_playwright

from fw import ids
from fw.app import create_app
from fw.config import Config
from fw.database.embedded import postgres
from fw.database.migrations import migrate
from tests.support.browsing import CHROMIUM
from tests.support.people import Person, make_person

FOLDER: Final = Path(__file__).parent
DESK: Final = {"width": 1280, "height": 760}
SAID: Final = (
    ("The new search is wonderful, thank you. It finds what I wrote in German too.", {"rating": 5}),
    ("Könnte die Liste auch nach Datum sortieren?", None),
    ("¿Hay una aplicación para el teléfono?", {"rating": 4}),
    (
        "On my phone the last button hides behind the keyboard.",
        {"page": "https://shop.example/checkout", "app": {"version": "4.2"}},
    ),
    ("Please keep the keyboard shortcuts. They are why I stay.", {"rating": 4}),
    ("هل يمكن إضافة الوضع الليلي؟", None),
    ("I could not find the invoice of last month. It was under “Archive”, which I did not expect.", None),
    ("Best support I had this year. Ana answered within minutes.", {"rating": 5}),
    ("The export stops at 1,000 rows.", {"page": "https://shop.example/reports"}),
    ("Merci pour le mode hors ligne !", {"rating": 5}),
    ("Two factor sign-in, please.", None),
    ("It is a bit slow on Mondays.", {"rating": 3}),
)
SITE: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A shop</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<body style="margin:0;font:18px/1.6 Georgia,serif;color:#2b2118;background:#fbf7f0">
<main style="max-width:720px;margin:60px auto;padding:0 24px"><h1 style="font-size:42px;line-height:1.15">Bread, by hand</h1>
<p>We bake at four in the morning, so that you do not have to. Order until noon, and it is at your door the next day, still
smelling of the oven.</p>
<p>New this month: rye with walnuts, and the small white loaf that so many of you have asked for.</p></main>
<script async src="{script}" data-widget="{widget}"></script>"""


@asynccontextmanager
async def service(folder: Path) -> AsyncIterator[tuple[TestClient, asyncpg.Connection]]:
    """Run the service on a database of its own."""
    with postgres(folder) as url:
        migrate(Config(database_url=url))
        config = Config(database_url=url, data_dir=folder, jwt_secrets=("s" * 32,), bcrypt_cost=4, rate_limits={})
        connection = await asyncpg.connect(url)
        async with TestClient(TestServer(create_app(config))) as client:
            yield client, connection
        await connection.close()


@asynccontextmanager
async def site(script: str, widget_id: str) -> AsyncIterator[str]:
    """Run a site that shows a widget."""
    app = web.Application()

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=SITE.format(script=script, widget=widget_id), content_type="text/html")

    app.router.add_get("/", show)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


async def seed(user: Person, sql: asyncpg.Connection) -> tuple[str, str]:
    """Fill an inbox and the statistics of a widget. Returns the ids of a button and of a widget that asks for a rating."""
    button = await user.make_widget(name="Corner", type="button", theme="light", settings={"title": "How can we do better?"})
    rating = await user.make_widget(name="After the order", type="rating", settings={"title": "How was it?"})
    await past(user, sql, rating["id"])
    for message, metadata in SAID:
        if metadata and "rating" in metadata:
            asked = {"message": message, "rating": metadata["rating"]}
            await user.client.post(f"/api/widgets/{rating['id']}/feedback", json=asked)
        else:
            await user.receive(message, metadata=metadata)
    items = (await user.inbox(limit=5))["items"]
    await user.post("/api/feedback/read", json={"up_to": items[-1]["cursor"]})
    return button["id"], rating["id"]


async def past(user: Person, sql: asyncpg.Connection, widget_id: str) -> None:
    """Make a month of views, opens and ratings of a widget."""
    chance, noon = random.Random(7), datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    await sql.execute(
        "INSERT INTO widget_events (user_id, widget_id, quarter, views, opens)"
        " VALUES ($1, $2, date_trunc('day', now()), 214, 70)",
        *(user.id, widget_id),
    )
    for day in range(1, 30):
        moment, views = noon - timedelta(days=30 - day), 220 + 6 * day + chance.randrange(90)
        await sql.execute(
            "INSERT INTO widget_events (user_id, widget_id, quarter, views, opens) VALUES ($1, $2, $3, $4, $5)",
            *(user.id, widget_id, moment, views, views // 3 + chance.randrange(20)),
        )
        moments = [moment + timedelta(minutes=n) for n in range(18 + day // 2 + chance.randrange(12))]
        ratings = chance.choices((1, 2, 3, 4, 5), (1, 1, 3, 7, 9), k=len(moments))
        await sql.execute(
            "SELECT inbox_append($1, $2, $3, array_fill($4::uuid, ARRAY[cardinality($2::uuid[])]),"
            " array_fill(NULL::inet, ARRAY[cardinality($2::uuid[])]), array_fill(''::text, ARRAY[cardinality($2::uuid[])]),"
            " $5::text[]::json[], NULL, NULL)",
            *(user.id, [ids.just_before(each) for each in moments], moments, widget_id),
            [f'{{"rating": {rating}}}' for rating in ratings],
        )


async def signed_in(browser: Browser, user: Person, **options: Any) -> Page:
    context = await browser.new_context(viewport=DESK, device_scale_factor=1, **options)
    page = await context.new_page()
    await page.goto(str(user.client.make_url("/inbox/signin")))
    await page.locator("input[autocomplete=username]").fill(user.username)
    await page.locator("input[type=password]").fill(user.password)
    await page.keyboard.press("Enter")
    await page.get_by_text(SAID[-1][0]).first.wait_for()
    return page


async def take() -> None:
    with tempfile.TemporaryDirectory(prefix="fw-pictures-") as folder:
        Path(folder).chmod(0o755)
        async with service(Path(folder)) as (client, sql), async_playwright() as playwright:
            user = await make_person(client, username="rye-and-co", email="hello@bakery.example")
            button, rating = await seed(user, sql)
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = await signed_in(browser, user, color_scheme="light")
            await page.get_by_text(SAID[-4][0]).first.click()
            await page.screenshot(path=FOLDER / "inbox.png")
            await page.goto(str(client.make_url(f"/inbox/widgets/{rating}/statistics")))
            await page.locator("canvas").first.wait_for()
            await page.screenshot(path=FOLDER / "statistics.png")
            async with site(str(client.make_url("/widget.js")), button) as url:
                page = await (await browser.new_context(viewport={"width": 900, "height": 620})).new_page()
                await page.goto(url)
                await page.get_by_role("button").first.click()
                await page.get_by_role("textbox").fill("The rye with walnuts is wonderful.")
                await page.screenshot(path=FOLDER / "widget.png")
            await browser.close()


if __name__ == "__main__":
    asyncio.run(take())
