"""The ops pages are painted at once, however many tenants there are."""

import sys
from statistics import median

from playwright.async_api import Page, expect

from cli.api import Api
from cli.ops import new_link
from local.stack import Stack
from tests.bench.scale import fill
from tests.support.browser import visitor

TENANTS = 10_000
MOST = 500.0  # milliseconds
TRIES = 5
SLOWER = 2.0  # than a page without tenants, on a machine that other tests slow down
WITHOUT_TENANTS = ("/sweeps", "Sweeps")
PAINTED = """new Promise(done => new PerformanceObserver(list => {
    for (const each of list.getEntriesByName("first-contentful-paint")) done(each.startTime);
}).observe({ type: "paint", buffered: true }))"""


PAGES = {
    "": "Weight in use",
    "/tenants": "All tenants",
    "/tenants?state=failed": "No tenant is found",
    "/tenants?find=ended-000420": "ended-0004200",
    "/tenants/ended-0000042": "When it sleeps",
}


async def test_the_pages_are_painted_beside_10000_tenants() -> None:
    async with (
        Stack() as stack,
        Api(stack.api_url, stack.master_key) as operators,
        visitor(stack.control_plane.gateway) as browser,
    ):
        page = await browser.page()
        await page.goto(await new_link(operators))
        await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        await fill(stack.azurite.endpoint, range(TENANTS))
        assert len((await operators.call("GET", "tenants", limit=1))["items"]) == 1
        for path, text in PAGES.items():
            of_page, of_other = list[float](), list[float]()
            for _ in range(TRIES):  # in turn, so that both meet the same machine
                of_other.append(await first_paint(page, stack, *WITHOUT_TENANTS))
                of_page.append(await first_paint(page, stack, path, text))
            took, other = median(of_page), median(of_other)
            print(f"/api/ops{path}: {took:.0f} ms, {WITHOUT_TENANTS[0]} {other:.0f} ms", file=sys.stderr)
            assert took < max(MOST, SLOWER * other), (path, of_page, of_other)
            await expect(page.get_by_text("Loading …")).to_have_count(0, timeout=30_000)


async def first_paint(page: Page, stack: Stack, path: str, text: str) -> float:
    """Open a page, and return after how many milliseconds the browser has painted the first of it."""
    await page.goto(f"{stack.api_url}/api/ops{path}")
    await expect(page.get_by_text(text).first).to_be_visible()
    return await page.evaluate(PAINTED)
