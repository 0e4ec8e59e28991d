"""The ops pages in a browser, on the whole stack: signing in, what is live, keyboard, phone, dark, and barriers."""

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from playwright.async_api import FloatRect, Locator, expect

from cli.ops import new_link
from functions.http.pages.figures import Figure, Series
from functions.http.pages.rendering import html
from tests.support.browser import Visitor
from tests.support.builders import new_slug
from tests.support.ops_browser import Scheme, has_no_barrier, opened
from tests.support.polling import until
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
        operation = await berth.sign_up(slug, version="never-ready-1")  # so it runs until it is cancelled
        await expect(running.get_by_role("link", name=slug)).to_be_visible(timeout=10_000)
        await expect(running.get_by_role("progressbar", name=f"provision of {slug}")).to_be_visible()
        await expect(running.get_by_role("listitem").filter(has_text="start: running").last).to_be_visible()
        await berth.api.call("POST", f"operations/{operation['id']}/cancel")
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


async def shaded(table: Locator) -> list[bool]:
    """Return whether there is a shadow at the left and at the right edge of a table."""
    box = await table.bounding_box()
    assert box is not None
    left, right, middle = box["x"], box["x"] + box["width"] - 12, box["y"] + box["height"] / 2
    clips: list[FloatRect] = [{"x": x, "y": middle, "width": 12, "height": 4} for x in (left, right)]
    shots = [await table.page.screenshot(clip=clip) for clip in clips]
    return [len(Image.open(BytesIO(shot)).convert("RGB").getcolors(10**6) or ()) > 1 for shot in shots]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_table_that_goes_on_shows_it(berth: ProxiedStack, browser: Visitor, scheme: Scheme) -> None:
    async with opened(berth, browser, width=390, scheme=scheme) as page:
        table = page.get_by_role("group", name="Clusters")
        await expect(page.get_by_text("Loading …")).to_have_count(0, timeout=10_000)
        await table.scroll_into_view_if_needed()
        await table.focus()
        await table.evaluate("each => { each.firstChild.style.visibility = 'hidden' }")
        assert await shaded(table) == [False, True]
        await page.keyboard.press("ArrowRight")

        async def has_scrolled() -> bool:
            return await table.evaluate("each => each.scrollLeft") > 0

        await until(has_scrolled)
        assert await shaded(table) == [True, True]
        await table.evaluate("each => { each.scrollLeft = each.scrollWidth }")
        assert await shaded(table) == [True, False]
    async with opened(berth, browser, scheme=scheme) as page:
        table = page.get_by_role("group", name="Clusters")
        await table.evaluate("each => { each.firstChild.style.visibility = 'hidden' }")
        assert await shaded(table) == [False, False]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_a_single_day_is_seen_in_a_chart(
    berth: ProxiedStack, browser: Visitor, tmp_path: Path, width: int, scheme: Scheme
) -> None:
    cost = Series("berth", "s1"), Series("without sleep", "s5", dashed=True), Series("goal", "s2", dashed=True)
    days = [[f"2026-03-{day:02}", "", "", ""] for day in range(1, 15)]
    days[4][1:] = ["0.42", "0.71", "0.93"]
    charts = [
        Figure("cost", "Cost", "One day.", cost, [["2026-03-05", "9.43", "12.50", "10.00"]]),
        Figure("provision", "Seconds", "One day.", [Series(each, "s1") for each in ("p50", "p95", "p99")], days),
    ]
    trends = SimpleNamespace(rolled_at=None, costs=SimpleNamespace(until=None))
    part = html("_trends", session=None, trends=trends, figures=charts, latency=[])
    seen = """() => [...document.querySelectorAll("figure canvas")].flatMap((canvas) => {
        const chart = Chart.getChart(canvas);
        const points = chart.data.datasets.flatMap((_, place) => chart.getDatasetMeta(place).data);
        const isSeen = (each) => each.options.radius >= 6 && each.x - chart.chartArea.left > 6;
        return points.filter((each) => !each.skip).map(isSeen);
    })"""
    async with opened(berth, browser, width=width, scheme=scheme) as page:
        await page.route(
            "**/api/ops/trends", lambda route: route.fulfill(body=part.get_body(), content_type="text/html")
        )
        await page.reload()
        await expect(page.locator("figure canvas")).to_have_count(2)

        async def are_drawn() -> bool:  # a moment after they are there
            return await page.evaluate(
                "() => [...document.querySelectorAll('figure canvas')].every((each) => Chart.getChart(each))"
            )

        await until(are_drawn)
        assert await page.evaluate(seen) == [True] * 6
        await page.locator(".columns").screenshot(path=tmp_path / f"single-{width}-{scheme}.png")


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
