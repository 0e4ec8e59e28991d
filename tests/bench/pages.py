"""How soon the ops pages are painted beside many tenants: `./berth bench pages`.

A browser opens the pages in turn, and with them a page that reads no tenant, again and again.
"""

import argparse
import asyncio
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from statistics import median

from playwright.async_api import Page, expect

from cli.api import Api
from cli.ops import new_link
from local.stack import Stack
from tests.bench.goals import Goal, judged
from tests.bench.scale import fill
from tests.support.browser import visitor

MOST = 500.0  # milliseconds until the first paint
SWEEPS = "/sweeps"  # has no tenants
PAGES = {
    SWEEPS: "Sweeps",
    "": "Weight in use",
    "/tenants": "All tenants",
    "/tenants?state=failed": "No tenant is found",
    "/tenants?find=ended-000420": "ended-0004200",
    "/tenants/ended-0000042": "When it sleeps",
}
PAINTED = """new Promise(done => new PerformanceObserver(list => {
    for (const each of list.getEntriesByName("first-contentful-paint")) done(each.startTime);
}).observe({ type: "paint", buffered: true }))"""


class Paints:
    """The milliseconds until the first paint of each page, by its path, each time that it was opened."""

    def __init__(self, page: Page, address: str) -> None:
        self._page = page
        self._address = address
        self.took: Mapping[str, list[float]] = {path: [] for path in PAGES}

    async def measure(self, rounds: int) -> None:
        """Open all pages, so many times."""
        for _ in range(rounds):
            for path, text in PAGES.items():
                await self._page.goto(f"{self._address}{path}")
                await expect(self._page.get_by_text(text).first).to_be_visible()
                self.took[path].append(await self._page.evaluate(PAINTED))
                await expect(self._page.get_by_text("Loading …")).to_have_count(0, timeout=30_000)

    @property
    def usual(self) -> Mapping[str, float]:
        """The median of each page."""
        return {path: median(took) for path, took in self.took.items()}


@asynccontextmanager
async def paints_beside(tenants: int) -> AsyncGenerator[Paints]:
    """Run a stack with so many tenants, and a browser in which an operator is signed in."""
    async with (
        Stack() as stack,
        Api(stack.api_url, stack.master_key) as operators,
        visitor(stack.control_plane.gateway) as browser,
    ):
        page = await browser.page()
        await page.goto(await new_link(operators))
        await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        await fill(stack.azurite.endpoint, range(tenants))
        assert len((await operators.call("GET", "tenants", limit=1))["items"]) == 1
        yield Paints(page, f"{stack.api_url}/api/ops")


async def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(prog="./berth bench pages", description=__doc__)
    parser.add_argument("--tenants", type=int, default=10_000, help="tenants in the tables, at least 5000 (10000)")
    parser.add_argument("--rounds", type=int, default=15, help="how often each page is opened (15)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args(arguments)
    async with paints_beside(options.tenants) as paints:
        await paints.measure(options.rounds)
    for path, took in paints.took.items():
        print(f"/api/ops{path:32}{min(took):6.0f} to {max(took):.0f} ms")
    return judged(
        [Goal(f"/api/ops{path}, median, ms", each, MOST) for path, each in paints.usual.items()], check=options.check
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
