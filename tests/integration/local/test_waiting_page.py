"""The waiting page in a browser: what it shows, where it leads, and what it does when all else fails."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from local.gateway.process import GatewayProcess
from tests.support.browser import Visitor, visitor
from tests.support.polling import until
from tests.support.waiting_room import DOMAIN, HOST, WaitingRoom, problem, told

WANTED = f"http://{HOST}/deep/link?tab=2&q=a%20b#part"


@pytest.fixture(scope="module")
async def browser(caddy: WaitingRoom) -> AsyncGenerator[Visitor]:
    port = httpx.URL(caddy.url).port
    assert port is not None
    async with visitor(GatewayProcess(DOMAIN, 9, port, 9, Path())) as held:
        yield held


@asynccontextmanager
async def opened(browser: Visitor, *, width: int = 1280, javascript: bool = True) -> AsyncGenerator[Page]:
    """Give the page as it is for somebody who opens a tenant that sleeps; it must break no rule of its own policy."""
    page = await browser.page(width=width, javascript=javascript)
    broken: list[str] = []
    page.on("console", lambda said: broken.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("pageerror", lambda error: broken.append(str(error)))
    response = await page.goto(WANTED)
    assert response is not None
    assert response.status == 503
    yield page
    assert broken == []
    await page.close()


async def product_answers(page: Page) -> None:
    """From now on the address leads to the product."""

    async def answer(route: Route) -> None:
        await route.fulfill(status=200, content_type="text/html", body="<h1>The product</h1>")

    await page.route("**/*", answer)


async def test_it_leads_to_the_wanted_page_once_the_tenant_answers(room: WaitingRoom, browser: Visitor) -> None:
    async with opened(browser) as page:
        await expect(page.get_by_role("heading")).to_have_text("Opening this address")
        await expect(page.get_by_text(HOST)).to_be_visible()
        await product_answers(page)
        await expect(page.get_by_role("heading")).to_have_text("The product", timeout=15_000)
        assert page.url == WANTED
        assert await page.evaluate("history.length") == 2  # going back does not lead to the waiting page


async def test_it_shows_how_far_it_is(room: WaitingRoom, browser: Visitor) -> None:
    room.respond = told(percent=40, position=3, elapsed_seconds=75, message="It opens as soon as it is its turn.")
    async with opened(browser) as page:
        await expect(page.get_by_role("heading")).to_have_text("This takes longer than usual")
        await expect(page.get_by_role("status")).to_have_text("It opens as soon as it is its turn.")
        assert await page.get_by_role("progressbar").get_attribute("value") == "40"
        await expect(page.get_by_text("number 3 in the queue")).to_be_visible()
        await expect(page.get_by_text("Waiting for 1:1")).to_be_visible()
        assert await page.title() == f"Opening: {HOST}"


async def test_the_time_survives_a_reload(room: WaitingRoom, browser: Visitor) -> None:
    async with opened(browser) as page:
        await expect(page.get_by_text("Waiting for 0:1")).to_be_visible()
        room.respond = told(elapsed_seconds=200)
        await page.reload()
        await expect(page.get_by_text("Waiting for 3:2")).to_be_visible()
        room.respond = problem(500)  # from now on the tab has to remember it
        await page.reload()
        await expect(page.get_by_role("status")).to_contain_text("We cannot tell how far it is")
        await expect(page.get_by_text("Waiting for 3:2")).to_be_visible()


async def test_a_failure_is_told_and_may_be_tried_again(room: WaitingRoom, browser: Visitor) -> None:
    room.respond = told(state="failed", message="It could not be opened. Nothing is lost.", retry_after=60)
    async with opened(browser) as page:
        await expect(page.get_by_role("heading")).to_have_text("It could not be opened")
        await expect(page.get_by_role("status")).to_have_text("It could not be opened. Nothing is lost.")
        await expect(page.get_by_role("progressbar")).to_be_hidden()
        room.asked.clear()
        room.respond = told(elapsed_seconds=0)
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading")).to_have_text("Opening this address")
        assert room.asked[0].method == "POST"
        await expect(page.get_by_role("button")).to_be_hidden()


async def test_it_goes_on_while_the_app_is_down(room: WaitingRoom, browser: Visitor) -> None:
    room.respond = problem(503)
    async with opened(browser) as page:
        await expect(page.get_by_role("status")).to_contain_text("We keep trying")
        room.asked.clear()
        room.respond = told(state="asleep", percent=0, elapsed_seconds=None, message="It is asleep.")
        await expect(page.get_by_role("status")).to_have_text("It is asleep.", timeout=15_000)

        async def was_woken() -> bool:
            return "POST" in {each.method for each in room.asked}

        await until(was_woken)
        assert room.asked[0].method == "GET"


async def test_a_gateway_that_finds_no_pod_yet_is_waited_for(room: WaitingRoom, browser: Visitor) -> None:
    room.respond = told(state="open", percent=100, message="It is open.")
    async with opened(browser) as page:
        await expect(page.get_by_role("status")).to_have_text("It is open.")
        seen: list[str] = []

        async def no_pod(route: Route) -> None:
            seen.append(route.request.url)
            await route.fulfill(status=503, body="no healthy upstream")

        await page.route("**/*", no_pod)

        async def asked_twice() -> bool:
            return len(seen) > 1

        await until(asked_twice)
        assert {url.rpartition("/")[2] for url in seen} == {"visit"}
        await product_answers(page)
        await expect(page.get_by_role("heading")).to_have_text("The product", timeout=15_000)


async def test_a_tenant_that_is_removed_meanwhile_is_told(room: WaitingRoom, browser: Visitor) -> None:
    async with opened(browser) as page:
        room.respond = problem(404)
        await expect(page.get_by_role("heading")).to_have_text("There is nothing at this address", timeout=15_000)


async def test_without_javascript_it_refreshes_itself(room: WaitingRoom, browser: Visitor) -> None:
    async with opened(browser, javascript=False) as page:
        await expect(page.locator("noscript p")).to_contain_text("tries again every five seconds")
        await expect(page.locator("noscript p")).to_be_visible()
        await expect(page.get_by_role("progressbar")).to_be_hidden()
        await expect(page.get_by_text(HOST)).to_be_visible()
        await product_answers(page)
        await expect(page.get_by_role("heading")).to_have_text("The product", timeout=15_000)
        assert page.url == WANTED.partition("#")[0]
    assert {each.method for each in room.asked} == {"POST"}


async def test_a_failure_without_javascript_is_told_once(room: WaitingRoom, browser: Visitor, tmp_path: Path) -> None:
    room.respond = told(state="failed", message="It could not be opened. Nothing is lost.", retry_after=60)
    async with opened(browser, javascript=False) as page:
        await expect(page.get_by_role("heading")).to_have_text("It could not be opened")
        assert await page.title() == f"Not opened: {HOST}"
        await expect(page.locator("noscript p")).to_contain_text("does not try again by itself")
        await expect(page.locator("noscript p")).to_be_visible()
        await expect(page.locator("meta[http-equiv=refresh]")).to_have_count(0)
        await page.screenshot(path=tmp_path / "failed.png")
        room.respond = told()
        await page.reload()
        await expect(page.get_by_role("heading")).to_have_text("Opening this address")
        await expect(page.locator("meta[http-equiv=refresh]")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone(room: WaitingRoom, browser: Visitor, scheme: str, tmp_path: Path) -> None:
    room.respond = told(percent=60, position=12, elapsed_seconds=75)
    async with opened(browser, width=390) as page:
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await expect(page.get_by_text("number 12")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        await page.screenshot(path=tmp_path / f"waiting-{scheme}.png")
        for element, is_light in (("document.body", scheme == "light"), ("state", scheme == "dark")):
            style = await page.evaluate(f"JSON.stringify(getComputedStyle({element}))")
            name = "backgroundColor" if element == "document.body" else "color"
            assert (int(re.findall(r"\d+", json.loads(style)[name])[0]) > 127) is is_light
