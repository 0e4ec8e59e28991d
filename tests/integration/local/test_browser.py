"""The tests' browser shows pages as the visitor at hand would see them."""

import json

from tests.support.browser import visitor

PAGE = """data:text/html,<meta name="viewport" content="width=device-width">
<p id="said"></p><noscript>no script</noscript>
<script>said.textContent = JSON.stringify([innerWidth, innerHeight, navigator.userAgent])</script>"""


async def test_pages_are_of_the_size_and_kind_asked_for() -> None:
    async with visitor() as browser:
        page = await browser.page(width=390, height=844, user_agent="a phone")
        await page.goto(PAGE)
        assert json.loads(await page.inner_text("#said")) == [390, 844, "a phone"]
        plain = await browser.page(javascript=False)
        await plain.goto(PAGE)
        assert await plain.inner_text("noscript") == "no script"
        assert not await plain.inner_text("#said")
