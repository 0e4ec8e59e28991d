"""The sample signup page in a browser, on the whole stack: what a customer does there, and what a developer reads."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, Route, expect

from cli.api import Json
from tests.support.browser import Visitor, visitor
from tests.support.builders import new_slug
from tests.support.polling import until
from tests.support.stack import ProxiedStack

EMAIL = "owner@example.com"
# What a browser logs of any such response, and of none.
EXPECTED = re.compile("the server responded with a status of (409|422|429|503)|net::ERR_FAILED")


@pytest.fixture(scope="module")
async def browser(shared_stack: ProxiedStack) -> AsyncGenerator[Visitor]:
    async with visitor(shared_stack.stack.control_plane.gateway) as held:
        yield held


@asynccontextmanager
async def opened(
    berth: ProxiedStack, browser: Visitor, *, width: int = 1280, height: int = 900
) -> AsyncGenerator[Page]:
    """Give the page as somebody finds it; nothing goes wrong on it, and it never learns the function key."""
    page = await browser.page(width=width, height=height)
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if "owner" in request.url else None)
    await page.goto(f"{berth.stack.api_url}/api/sample/signup")
    yield page
    assert [each for each in wrong if not EXPECTED.search(each)] == []
    text = await page.content()
    assert berth.stack.function_key not in text
    assert berth.stack.master_key not in text
    await page.context.close()


async def fill(page: Page, slug: str, email: str = EMAIL) -> None:
    await page.get_by_label("Slug", exact=True).fill(slug)
    await page.get_by_label("E-mail address").fill(email)
    await page.get_by_label("Display name").fill("Acme's Ltd")


async def sent(page: Page) -> list[str]:
    """Return the requests that the page shows."""
    return await page.locator("#exchanges .request").all_inner_texts()


async def is_active(page: Page, slug: str) -> None:
    await expect(page.locator("#said")).to_have_text(f"{slug} is active.", timeout=40_000)


async def answer(page: Page, path: str, *responses: tuple[int, Json, str]) -> list[str]:
    """Respond to the next requests for a path in berth's place, then let it respond; return the keys that are sent."""
    left, keys = list(responses), list[str]()

    async def respond(route: Route) -> None:
        keys.append(route.request.headers.get("idempotency-key", ""))
        if not left:
            return await route.continue_()
        status, body, wait = left.pop(0)
        return await route.fulfill(status=status, json=body, headers={"Retry-After": wait} if wait else {})

    await page.route(f"**{path}", respond)
    return keys


async def test_a_signup_reaches_an_address(berth: ProxiedStack, browser: Visitor, tmp_path: Path) -> None:
    slug = new_slug()
    async with opened(berth, browser) as page:
        await fill(page, slug)
        await expect(page.locator("#slug-said")).to_have_text(f"{slug} is free")
        await page.get_by_role("button", name="Sign up").click()
        await expect(page.get_by_role("progressbar")).to_be_visible()
        await is_active(page, slug)
        tenant = await berth.api.call("GET", f"tenants/{slug}")
        link = page.get_by_role("link", name=tenant["url"])
        await expect(link).to_have_attribute("href", tenant["url"])
        assert await page.locator("#steps .state.good").count() == 3
        widths = (
            "[...document.querySelectorAll('#steps li')].map(each => each.offsetWidth / each.parentElement.offsetWidth)"
        )
        assert await page.evaluate(widths) == [1, 1, 1]  # each is a line of its own
        requests = await sent(page)
        assert requests[:2] == [f"GET /api/slugs/{slug}", "POST /api/tenants"]
        assert requests[2].startswith(f"GET /api/operations/{slug}.")
        assert requests[3:] == [f"GET /api/tenants/{slug}"]
        await page.screenshot(path=tmp_path / "active.png", full_page=True)
    trail = await berth.api.all(f"tenants/{slug}/audit")
    assert {each["actor"] for each in trail} == {"sample"}
    assert EMAIL not in berth.stack.processes.log("host").read_text()
    await berth.at_rest()


async def test_what_is_shown_of_a_request_works_as_it_is(berth: ProxiedStack, browser: Visitor) -> None:
    slug = new_slug()
    async with opened(berth, browser) as page:
        await fill(page, slug)
        await page.get_by_role("button", name="Sign up").click()
        await is_active(page, slug)
        await expect(page.get_by_text("Your instance:")).to_be_visible()  # all has been sent
        posted = page.locator("#exchanges > li").filter(has_text="POST /api/tenants")
        request = (await posted.locator(".sent").text_content() or "").split("\n\n")
        headers = dict(line.split(": ") for line in request[0].splitlines()[1:])
        assert headers["x-functions-key"] == "$FUNCTION_KEY"
        received = await posted.locator(".received").text_content() or ""
        assert received.startswith("202 Accepted")
        assert "\nLocation: /api/operations/" in received
        curl = await posted.locator(".curl").text_content() or ""
        assert '-H "x-functions-key: $FUNCTION_KEY"' in curl
        assert "Acme'\\''s Ltd" in curl
        body = json.loads(request[1])
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.locator("#exchanges details[open] button").click()
        await expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert f"curl -i '{berth.stack.api_url}/api/tenants/{slug}'" in await page.evaluate(
            "navigator.clipboard.readText()"
        )
    headers["x-functions-key"] = berth.stack.function_key
    async with httpx.AsyncClient(trust_env=False) as http:
        again = await http.post(f"{berth.stack.api_url}/api/tenants", json=body, headers=headers)
    assert again.status_code == 409  # the request is right, and the slug is taken
    await berth.at_rest()


@pytest.mark.parametrize("slug", ["admin", "Not-Valid"])
async def test_a_slug_that_nobody_can_have_is_told_while_typing(
    berth: ProxiedStack, browser: Visitor, slug: str
) -> None:
    async with opened(berth, browser) as page:
        await fill(page, slug)
        wrong = (await berth.api.call("GET", f"slugs/{slug}"))["reason"]
        await expect(page.locator("#slug-said")).to_have_text(wrong)
        field = page.get_by_label("Slug", exact=True)
        await expect(field).to_have_attribute("aria-invalid", "true")
        await page.get_by_role("button", name="Sign up").click()
        await expect(page.get_by_role("alert")).to_contain_text("The request is not valid")
        await expect(page.locator("#slug-said")).to_have_text(wrong)
        await expect(field).to_be_focused()


async def test_a_taken_slug_and_a_wrong_address_can_be_corrected(
    berth: ProxiedStack, browser: Visitor, tmp_path: Path
) -> None:
    taken, slug = new_slug(), new_slug()
    await berth.ended(await berth.sign_up(taken))
    async with opened(berth, browser) as page:
        keys = await answer(page, "/tenants")
        await fill(page, taken, email="nobody")
        await expect(page.locator("#slug-said")).to_have_text("this name is taken")
        await page.get_by_role("button", name="Sign up").click()
        await expect(page.locator("#email-said")).to_have_text("give a valid e-mail address")
        await page.get_by_label("E-mail address").fill(EMAIL)
        await page.get_by_role("button", name="Sign up").click()
        await expect(page.get_by_role("alert")).to_contain_text("The current state does not allow this")
        await expect(page.locator("#slug-said")).to_contain_text("this name is taken")
        await expect(page.get_by_label("Slug", exact=True)).to_be_focused()
        await page.screenshot(path=tmp_path / "taken.png", full_page=True)
        await page.get_by_label("Slug", exact=True).fill(slug)
        await page.get_by_role("button", name="Sign up").click()
        await is_active(page, slug)
        await expect(page.get_by_role("alert")).to_be_hidden()
        assert len(set(keys)) == len(keys) == 3  # each time it is another request
    await berth.at_rest()


async def test_a_full_queue_is_waited_for_with_the_same_key(berth: ProxiedStack, browser: Visitor) -> None:
    slug = new_slug()
    full = {"type": "/api/problems/queue-full", "title": "The queue of signups is full", "detail": "Wait."}
    async with opened(berth, browser) as page:
        keys = await answer(page, "/tenants", (429, full, "2"), (503, full, "600"))
        await fill(page, slug)
        await page.get_by_role("button", name="Sign up").click()
        await expect(page.get_by_role("alert")).to_contain_text("The queue of signups is full")
        await expect(page.locator("#waiting")).to_contain_text("with the same key")
        await expect(page.locator("#waiting")).to_contain_text("in 600 s")
        await page.get_by_role("button", name="Do not wait").click()
        await page.get_by_role("button", name="Sign up").click()
        await is_active(page, slug)
        assert len(keys) == 3
        assert len(set(keys)) == 1
    await berth.at_rest()


async def test_two_clicks_make_one_tenant(berth: ProxiedStack, browser: Visitor) -> None:
    slug = new_slug()
    async with opened(berth, browser) as page:
        keys = await answer(page, "/tenants")
        await fill(page, slug)
        await page.get_by_role("button", name="Sign up").dblclick()
        await is_active(page, slug)
        assert len(keys) == 1
    await berth.at_rest()


async def test_a_reload_goes_on_with_the_operation(berth: ProxiedStack, browser: Visitor) -> None:
    slug = new_slug()
    async with opened(berth, browser) as page:
        keys = await answer(page, "/tenants")
        await fill(page, slug)
        await page.get_by_role("button", name="Sign up").click()
        await expect(page.get_by_role("progressbar")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("progressbar")).to_be_visible()
        await is_active(page, slug)
        await page.reload()
        await is_active(page, slug)
        assert len(keys) == 1
        await page.get_by_role("button", name="Sign up another one").click()
        await expect(page.get_by_label("Slug", exact=True)).to_have_value("")
    await berth.at_rest()


async def test_a_lost_response_makes_no_second_tenant(berth: ProxiedStack, browser: Visitor) -> None:
    slug = new_slug()
    async with opened(berth, browser) as page:
        keys = list[str]()

        async def lose(route: Route) -> None:
            keys.append(route.request.headers["idempotency-key"])
            if len(keys) > 1:
                return await route.continue_()
            await route.fetch()  # it arrives, and its response is lost
            return await route.abort()

        await page.route("**/tenants", lose)
        await fill(page, slug)
        await page.get_by_role("button", name="Sign up").click()
        await expect(page.get_by_role("alert")).to_contain_text("berth does not answer")
        await page.reload()
        await is_active(page, slug)
        assert len(set(keys)) == 1
    trail = await berth.api.all(f"tenants/{slug}/audit")
    assert len([each for each in trail if each["action"] == "provision"]) == 2  # its beginning and its end
    await berth.at_rest()


async def test_a_failure_says_why(berth: ProxiedStack, browser: Visitor) -> None:
    slug = new_slug()
    steps = [{"name": "place", "state": "done", "message": "", "seconds": 0.1}]
    steps.append({"name": "start", "state": "failed", "message": "it crashes", "seconds": 3.0})
    ended = {"state": "failed", "reason": "the image cannot be pulled", "percent": 100, "queue_position": None}
    times = dict.fromkeys(("created_at", "updated_at", "finished_at"), "2026-03-01T12:00:00.000Z")
    operation = {"id": f"{slug}.x", "tenant": slug, "steps": steps, **ended, **times}
    async with opened(berth, browser) as page:
        await answer(page, "/tenants", (202, operation, "2"))
        await fill(page, slug)
        await page.get_by_role("button", name="Sign up").click()
        await expect(page.locator("#said")).to_have_text("It failed: the image cannot be pulled")
        await expect(page.get_by_text("/retry")).to_be_visible()
        await expect(page.locator("#steps")).to_contain_text("it crashes")


async def test_the_keyboard_is_enough(berth: ProxiedStack, browser: Visitor) -> None:
    slug = new_slug()
    async with opened(berth, browser) as page:
        for _ in range(2):  # the link that skips the head, and the name of berth
            await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="berth", exact=True)).to_be_focused()
        for text in (slug, "t", "", EMAIL, "Acme"):
            await page.keyboard.press("Tab")
            await page.keyboard.type(text)
        await page.keyboard.press("Enter")
        await is_active(page, slug)
        await expect(page.get_by_role("heading", name="What the customer sees")).to_be_focused()
        await page.get_by_role("button", name="Sign up another one").focus()
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await expect(page.locator("#exchanges summary").first).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator("#exchanges .sent").first).to_be_visible()
    await berth.at_rest()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone(berth: ProxiedStack, browser: Visitor, scheme: str, tmp_path: Path) -> None:
    slug = new_slug()
    async with opened(berth, browser, width=390, height=844) as page:
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await page.screenshot(path=tmp_path / f"form-{scheme}.png")
        await fill(page, slug)
        await page.get_by_role("button", name="Sign up").click()
        await is_active(page, slug)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        fields = "[...document.querySelectorAll('button, input, select')].map(each => each.offsetHeight)"
        assert not [height for height in await page.evaluate(fields) if 0 < height < 40]
        await page.screenshot(path=tmp_path / f"active-{scheme}.png", full_page=True)
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(re.findall(r"\d+", ground)[0]) > 127) is (scheme == "light")
    await berth.at_rest()


async def test_the_first_paint_is_quick(berth: ProxiedStack, browser: Visitor) -> None:
    async with opened(berth, browser) as page:
        taken = list[float]()

        async def is_painted() -> bool:
            paints = "performance.getEntriesByName('first-contentful-paint').map(each => each.startTime)"
            found = await page.evaluate(paints)
            taken.extend(found)
            return bool(found)

        for _ in range(5):
            await page.reload()
            await until(is_painted)
        assert min(taken) < 500  # a page that is slow itself is so each time, a busy machine is not


async def test_without_its_script_nothing_is_sent(berth: ProxiedStack, browser: Visitor, tmp_path: Path) -> None:
    page = await browser.page(javascript=False)
    await page.goto(f"{berth.stack.api_url}/api/sample/signup")
    await expect(page.get_by_role("heading", name="This page needs JavaScript")).to_be_visible()
    await expect(page.locator("noscript pre")).to_contain_text('curl -i "$BERTH/api/tenants"')
    await page.screenshot(path=tmp_path / "wide.png", full_page=True)
    await page.set_viewport_size({"width": 390, "height": 844})
    await page.screenshot(path=tmp_path / "phone.png", full_page=True)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await expect(page.get_by_role("button", name="Sign up")).to_be_disabled()
    await fill(page, "acme")
    await page.keyboard.press("Enter")
    assert page.url == f"{berth.stack.api_url}/api/sample/signup"
    await page.context.close()
