"""What axe-core finds wrong with a page."""

from importlib.resources import files

from playwright.async_api import Page

SERIOUS = ("serious", "critical")


async def faults_of(page: Page) -> list[str]:
    """Return what axe-core calls serious or critical in a page, with the first element of each."""
    await page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    found = await page.evaluate("axe.run()")
    return [
        f"{fault['id']}: {fault['help']}: {fault['nodes'][0]['html']} {fault['nodes'][0]['failureSummary']}"
        for fault in found["violations"]
        if fault["impact"] in SERIOUS
    ]
