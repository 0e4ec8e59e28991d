"""The API's description, its problem pages, and its responses for unknown paths and methods."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from functions.http.problems import Kind
from tests.support.browser import Visitor
from tests.support.described_api import DOCUMENT
from tests.support.http_calls import send
from tests.support.ops_browser import Scheme, has_no_barrier
from tests.support.stack import ProxiedStack


async def test_the_description_needs_no_key(berth: ProxiedStack) -> None:
    response = await send(berth, "GET", "openapi.json", key="none")
    assert (response.status_code, response.json()) == (200, DOCUMENT)


@pytest.mark.parametrize("kind", Kind)
async def test_the_type_of_a_problem_leads_to_its_page(berth: ProxiedStack, kind: Kind) -> None:
    response = await send(berth, "GET", kind.type.removeprefix("/api/"), key="none")
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/markdown; charset=utf-8")
    assert response.text.startswith(f"# {kind.label}\n")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_a_browser_shows_a_problem_as_a_page(
    berth: ProxiedStack, browser: Visitor, tmp_path: Path, width: int, scheme: Scheme
) -> None:
    page = await browser.page(width=width)
    await page.emulate_media(color_scheme=scheme)
    await page.goto(f"{berth.stack.api_url}{Kind.CONFLICT.type}")
    await expect(page.get_by_role("heading", level=1)).to_have_text(Kind.CONFLICT.title)
    await expect(page.get_by_text("What to do", exact=True)).to_be_visible()
    await has_no_barrier(page, width=width, scheme=scheme)
    await page.screenshot(path=tmp_path / f"problem-{width}-{scheme}.png", full_page=True)
    await page.context.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "nothing"),
        ("POST", "tenants/acme/nothing"),
        ("GET", "problems/nothing"),
        ("GET", ""),
        ("DELETE", "a/b/c/d"),
    ],
)
async def test_an_unknown_path_gets_a_problem(berth: ProxiedStack, method: str, path: str) -> None:
    response = await send(berth, method, path, key="none")
    assert (response.status_code, response.json()["type"]) == (404, Kind.NOT_FOUND.type)
    assert response.json()["instance"] == f"/api/{path}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "tenants", "GET, POST"),
        ("PUT", "tenants/acme", "DELETE, GET"),
        ("POST", "operations/acme.1", "GET"),
        ("GET", "tenants/acme/retry/", "POST"),
        ("OPTIONS", "openapi.json", "GET"),
    ],
)
async def test_a_wrong_method_gets_the_allowed_ones(berth: ProxiedStack, method: str, path: str, allowed: str) -> None:
    response = await send(berth, method, path, key="none")
    assert (response.status_code, response.headers["Allow"]) == (405, allowed)
    assert response.json()["type"] == Kind.METHOD_NOT_ALLOWED.type


async def test_head_is_not_an_allowed_method(berth: ProxiedStack) -> None:
    response = await send(berth, "HEAD", "healthz")
    assert (response.status_code, response.headers["Allow"], response.content) == (405, "GET", b"")
