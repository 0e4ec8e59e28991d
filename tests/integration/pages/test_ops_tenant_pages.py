"""What operators see of tenants, sweeps and clusters, and do to them, in a browser on the whole stack."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from cli.ops import new_link
from tests.support.browser import Visitor
from tests.support.builders import new_slug
from tests.support.ops_browser import Scheme, has_no_barrier, opened
from tests.support.stack import ProxiedStack


async def signed_up(berth: ProxiedStack, **fields: str) -> str:
    slug = new_slug()
    assert (await berth.ended(await berth.sign_up(slug, **fields)))["state"] == "succeeded"
    return slug


async def is_now(page: Page, state: str) -> None:
    await expect(page.get_by_role("heading", level=1).locator(".state")).to_have_text(state, timeout=20_000)


async def test_a_tenant_is_put_to_sleep_and_woken_by_clicking(berth: ProxiedStack, browser: Visitor) -> None:
    slug = await signed_up(berth, version="slow-1")
    async with opened(berth, browser) as page:
        await page.get_by_role("link", name="Tenants").click()
        await page.get_by_label("Slug or how it begins").fill(slug)
        await page.keyboard.press("Enter")
        await is_now(page, "active")
        await expect(page.get_by_text("This month so far")).to_be_visible()
        await expect(page).to_have_title(f"{slug} · berth")  # whatever the parts that are loaded after it are called
        await expect(page.get_by_role("button", name=f"Put {slug} to sleep")).to_be_hidden()
        await page.get_by_text("Put to sleep", exact=True).click()
        await expect(page.get_by_text("Its pods stop and its address shows the waiting page.")).to_be_visible()
        await page.get_by_role("button", name=f"Put {slug} to sleep").dblclick()
        await is_now(page, "hibernated")  # without a reload by anybody
        await page.get_by_text("Wake", exact=True).click()
        await page.get_by_role("button", name=f"Wake {slug}").click()
        operation = page.locator("#operation")
        await expect(operation.get_by_text("start: running")).to_be_visible(timeout=10_000)
        await expect(operation.get_by_role("progressbar")).to_be_visible()
        await is_now(page, "active")
        await expect(operation.get_by_text("start: done in")).to_be_visible()
        await expect(page.get_by_role("heading", name="Last operation")).to_be_visible()
    changes = (await berth.api.call("GET", f"tenants/{slug}/audit"))["items"]
    begun = [(each["action"], each["actor"]) for each in changes if each["reason"] == "requested"]
    assert begun == [("wake", "ops"), ("hibernate", "ops"), ("provision", "berth CLI")]


async def test_it_works_by_keyboard_and_without_javascript(berth: ProxiedStack, browser: Visitor) -> None:
    slug = await signed_up(berth)
    page = await browser.page(javascript=False)
    link, _, token = (await new_link(berth.operators)).partition("#")
    await page.goto(link)
    await page.get_by_label("What the link has after the #").focus()
    await page.keyboard.type(token)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    await page.goto(f"{berth.stack.api_url}/api/ops/tenants/{slug}")
    await is_now(page, "active")
    await page.get_by_role("link", name="Skip to the content").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Put to sleep", exact=True)).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name=f"Put {slug} to sleep")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#operation").get_by_text("Hibernate")).to_be_visible()
    changes = (await berth.api.call("GET", f"tenants/{slug}/audit"))["items"]
    await berth.ended({"id": next(each["operation"] for each in changes if each["action"] == "hibernate")})
    await page.reload()
    await is_now(page, "hibernated")
    await page.get_by_role("link", name="Show the costs").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(f"Costs of {slug}")
    await page.context.close()


async def test_an_error_keeps_what_was_typed(berth: ProxiedStack, browser: Visitor, tmp_path: Path) -> None:
    slug = await signed_up(berth)
    page = await browser.page(width=390)
    await page.goto(await new_link(berth.operators))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    await page.goto(f"{berth.stack.api_url}/api/ops/tenants/{slug}")
    await page.get_by_text("Delete", exact=True).click()
    field = page.get_by_label(f"Type {slug} to confirm")
    await field.evaluate("each => { each.removeAttribute('pattern') }")  # as an older browser has it
    await field.fill("another")
    await page.get_by_role("button", name=f"Delete {slug} for good").click()
    await expect(page.get_by_text("nothing was done")).to_be_visible()
    await page.screenshot(path=tmp_path / "error.png")
    await page.get_by_role("link", name="Back to the form").click()
    await expect(field).to_be_visible()
    await expect(field).to_have_value("another")
    await page.screenshot(path=tmp_path / "back.png")
    await page.context.close()


async def test_sweeps_are_switched_and_tried(berth: ProxiedStack, browser: Visitor) -> None:
    async with opened(berth, browser) as page:
        await page.get_by_role("link", name="Sweeps", exact=True).click()
        for switch, done in (("Switch off", "off"), ("Switch on", "on")):
            await page.get_by_text(switch, exact=True).click()
            await page.get_by_role("button", name=f"Switch sweeps {done}").click()
            await expect(page.get_by_role("heading", level=1)).to_have_text(f"Sweeps {done}")
        await page.get_by_text("Dry run", exact=True).click()
        await page.get_by_role("button", name="Start a dry run").click()
        await expect(page.get_by_text("Dry run, started by ops")).to_be_visible()
        await expect(page.get_by_text("Ended")).to_be_visible(timeout=20_000)
        await expect(page.get_by_role("button", name="Stop this sweep")).to_have_count(0)


async def test_a_cluster_is_cordoned_by_clicking(berth: ProxiedStack, browser: Visitor) -> None:
    async with opened(berth, browser) as page:
        await page.goto(f"{berth.stack.api_url}/api/ops/clusters/local")
        for name, state in (("Cordon", "cordoned"), ("Uncordon", "open")):
            await page.get_by_text(name, exact=True).click()
            await page.get_by_role("button", name=f"{name} local").click()
            await is_now(page, state)
    [cluster] = (await berth.operators.call("GET", "clusters"))["items"]
    assert cluster["state"] == "open"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_no_page_has_a_barrier(
    berth: ProxiedStack, browser: Visitor, tmp_path: Path, width: int, scheme: Scheme
) -> None:
    slug = await signed_up(berth)
    sweep = await berth.operators.call("POST", "sweeps", {"dry_run": True})
    paths = {
        "tenants": "tenants",
        "tenant": f"tenants/{slug}",
        "audit": f"tenants/{slug}/audit",
        "sweeps": "sweeps",
        "sweep": f"sweeps/{sweep['id']}",
        "cluster": "clusters/local",
    }
    async with opened(berth, browser, width=width, scheme=scheme) as page:
        for name, path in paths.items():
            await page.goto(f"{berth.stack.api_url}/api/ops/{path}")
            await expect(page.get_by_text("Show the costs")).to_have_count(0)
            for each in await page.locator("details").all():
                await each.evaluate("each => { each.open = true }")
            await has_no_barrier(page, width=width, scheme=scheme)
            await page.screenshot(path=tmp_path / f"{name}-{width}-{scheme}.png", full_page=True)
