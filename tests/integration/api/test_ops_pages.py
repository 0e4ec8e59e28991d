"""The ops pages in a browser, on the whole stack: signing in, what is live, keyboard, phone, dark, and barriers."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from cli.ops import new_link
from tests.support.browser import Visitor
from tests.support.builders import new_slug
from tests.support.ops_browser import Scheme, has_no_barrier, opened
from tests.support.stack import ProxiedStack


async def test_a_link_signs_in_once_and_leaves_no_trace(berth: ProxiedStack, browser: Visitor) -> None:
    link = await new_link(berth.operators)
    page = await browser.page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(link)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    secret = link.partition("#")[2]
    assert not [url for url in asked if secret in url]
    [cookie] = await page.context.cookies()
    assert (cookie.get("httpOnly"), cookie.get("sameSite"), cookie.get("path")) == (True, "Lax", "/api/ops")
    other = await browser.page()
    await other.goto(link)
    await expect(other.get_by_role("heading", level=1)).to_have_text("Sign in first")
    await expect(other.get_by_text("The link was used before")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await page.goto(f"{berth.stack.api_url}/api/ops")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in first")
    for each in (page, other):
        await each.context.close()


async def test_what_runs_is_shown_while_it_runs(berth: ProxiedStack, browser: Visitor) -> None:
    async with opened(berth, browser) as page:
        running = page.locator("#running")
        await expect(running).to_contain_text("None.")
        slug = new_slug()
        operation = await berth.sign_up(slug, version="slow-1")
        await expect(running.get_by_role("link", name=slug)).to_be_visible(timeout=10_000)
        await expect(running.get_by_role("progressbar", name=f"provision of {slug}")).to_be_visible()
        await expect(running.get_by_role("listitem").filter(has_text="start: running").last).to_be_visible()
        await berth.ended(operation)
        await expect(running.get_by_role("link", name=slug)).to_have_count(0, timeout=10_000)


async def test_nothing_is_asked_for_while_nobody_looks(berth: ProxiedStack, browser: Visitor) -> None:
    would_ask = """hidden => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
        const part = document.querySelector("#running [hx-get]");
        const event = new CustomEvent("htmx:beforeRequest", { bubbles: true, cancelable: true, detail: { elt: part } });
        return part.dispatchEvent(event);
    }"""
    async with opened(berth, browser) as page:
        assert await page.evaluate(would_ask, True) is False
        assert await page.evaluate(would_ask, False) is True
        async with page.expect_request("**/api/ops/running"):
            await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


async def test_trouble_is_told_until_it_is_over(berth: ProxiedStack, browser: Visitor) -> None:
    page = await browser.page()
    await page.goto(await new_link(berth.operators))
    await page.route("**/api/ops/running", lambda route: route.abort())
    await expect(page.get_by_role("status")).to_contain_text("berth does not answer", timeout=10_000)
    await page.unroute("**/api/ops/running")
    await expect(page.get_by_role("status")).to_be_hidden(timeout=10_000)
    await page.context.clear_cookies()
    await expect(page.get_by_role("status")).to_contain_text("Sign in first: Run ./berth ops", timeout=10_000)
    await page.context.close()


async def test_it_works_by_keyboard(berth: ProxiedStack, browser: Visitor) -> None:
    async with opened(berth, browser) as page:
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("main")).to_be_focused()
        await page.keyboard.press("Shift+Tab")
        button = page.get_by_role("button", name="Sign out")
        await expect(button).to_be_focused()
        assert await button.evaluate("each => getComputedStyle(each).outlineWidth") == "3px"
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_there_is_no_barrier(
    berth: ProxiedStack, browser: Visitor, tmp_path: Path, width: int, scheme: Scheme
) -> None:
    await berth.ended(await berth.sign_up(new_slug()))
    await berth.at_rest()
    async with opened(berth, browser, width=width, scheme=scheme) as page:
        await expect(page.get_by_text("Loading …")).to_have_count(0, timeout=10_000)
        await has_no_barrier(page, width=width, scheme=scheme)
        await page.screenshot(path=tmp_path / f"overview-{width}-{scheme}.png", full_page=True)
