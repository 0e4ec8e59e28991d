"""The tests' browser reaches tenants at their own addresses."""

import pytest
from playwright.async_api import Error

from tests.support.browser import visitor
from tests.support.stack import ProxiedStack


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
