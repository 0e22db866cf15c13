"""A real browser, and what it must not do on our pages."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser, and chromium is not installed")


@asynccontextmanager
async def browse(*, is_strict: bool = True, but_for: str = "\n", **options: Any) -> AsyncIterator[Page]:
    """Open a page in a browser of its own; where it is strict, whatever it complains of fails the test at the end.

    Complaints that contain `but_for` are what the test is about.
    """
    complaints: list[str] = []
    expect.set_options(timeout=30_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await (await browser.new_context(**options)).new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        await browser.close()
    complaints = [complaint for complaint in complaints if but_for not in complaint]
    assert not (is_strict and complaints), "\n".join(complaints)
