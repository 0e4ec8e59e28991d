"""The tests' browser reaches tenants at their own addresses, and shows pages as the visitor at hand would see them."""

import json

import pytest
from playwright.async_api import Error

from tests.support.browser import visitor
from tests.support.stack import ProxiedStack

PAGE = """data:text/html,<meta name="viewport" content="width=device-width">
<p id="said"></p><noscript>no script</noscript>
<script>said.textContent = JSON.stringify([innerWidth, innerHeight, navigator.userAgent])</script>"""


async def test_a_tenants_address_shows_its_page(berth: ProxiedStack) -> None:
    operation = await berth.ended(await berth.sign_up())
    tenant = await berth.api.call("GET", f"tenants/{operation['tenant']}")
    async with visitor(berth.stack.control_plane.gateway) as browser:
        page = await browser.page()
        response = await page.goto(tenant["url"])
        assert response is not None
        assert response.status == 200
        assert await page.title() == tenant["url"].removeprefix("https://")
        assert "The sample product" in await page.inner_text("p")
        await page.goto(tenant["url"].replace("https:", "http:"))
        assert page.url.startswith(f"{tenant['url']}:")
        with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
            await page.goto(berth.stack.api_url.replace("127.0.0.1", "localhost"))


async def test_pages_are_of_the_size_and_kind_asked_for() -> None:
    async with visitor() as browser:
        page = await browser.page(width=390, height=844, user_agent="a phone")
        await page.goto(PAGE)
        assert json.loads(await page.inner_text("#said")) == [390, 844, "a phone"]
        plain = await browser.page(javascript=False)
        await plain.goto(PAGE)
        assert await plain.inner_text("noscript") == "no script"
        assert not await plain.inner_text("#said")
