"""The ops pages in a browser on a whole stack: somebody who is signed in, and what no page may do."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from playwright.async_api import Page, expect

from cli.ops import new_link
from tests.support.browser import Visitor
from tests.support.stack import ProxiedStack

AXE = Path("axe-core/axe.min.js")
type Scheme = Literal["light", "dark"]
_INKS = {"light": "rgb(27, 36, 48)", "dark": "rgb(230, 234, 240)"}


@asynccontextmanager
async def opened(
    berth: ProxiedStack, browser: Visitor, *, width: int = 1280, scheme: Scheme = "light"
) -> AsyncGenerator[Page]:
    """Give the overview to somebody who has opened a link; nothing on the page may go wrong."""
    page = await browser.page(width=width)
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    await page.emulate_media(color_scheme=scheme)
    await page.goto(await new_link(berth.operators))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    yield page
    assert wrong == []
    await page.context.close()


async def has_no_barrier(page: Page, *, width: int, scheme: Scheme) -> None:
    """Check that nothing sticks out of a page, that it has the colours of its scheme, and that axe finds nothing."""
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert await page.locator("h1").evaluate("each => getComputedStyle(each).color") == _INKS[scheme]
    axe = (Path(os.environ["BERTH_PAGE_LIBRARIES"]) / AXE).read_text()
    await page.evaluate(axe)
    found = await page.evaluate("axe.run().then(each => each.violations)")
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
