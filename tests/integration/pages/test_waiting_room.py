"""Whoever opens a tenant that sleeps, on the whole stack: gateway, waiting room, app and cluster."""

import json
from pathlib import Path

import pytest
from playwright.async_api import expect

from cli.api import Json
from local.kubernetes.control_plane import kubectl
from local.waiting_room import OBJECTS
from tests.support.browser import visitor
from tests.support.polling import until
from tests.support.stack import ProxiedStack
from tests.support.waiting_room import BROWSER

ROBOT = BROWSER | {"User-Agent": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"}


async def asleep(berth: ProxiedStack) -> Json:
    """Return a tenant that sleeps."""
    operation = await berth.ended(await berth.sign_up())
    path = f"tenants/{operation['tenant']}"
    assert (await berth.ended(await berth.api.call("POST", f"{path}/sleep")))["state"] == "succeeded"
    tenant = await berth.api.call("GET", path)
    assert tenant["state"] == "hibernated"
    return tenant


async def state(berth: ProxiedStack, tenant: Json) -> str:
    return (await berth.api.call("GET", f"tenants/{tenant['slug']}"))["state"]


async def becomes_reachable(berth: ProxiedStack, url: str) -> None:
    async def is_there() -> bool:
        return (await berth.stack.control_plane.gateway.fetch(url)).status_code == 200

    await until(is_there, seconds=40)


@pytest.mark.parametrize("javascript", [True, False])
async def test_a_browser_waits_and_is_led_to_the_wanted_page(
    berth: ProxiedStack, javascript: bool, tmp_path: Path
) -> None:
    tenant = await asleep(berth)
    wanted = f"{tenant['url']}/deep/link?tab=2"
    async with visitor(berth.stack.control_plane.gateway) as browser:
        page = await browser.page(javascript=javascript)
        response = await page.goto(wanted)
        assert response is not None
        assert (response.status, response.headers["x-berth-waiting"]) == (503, "yes")
        await page.screenshot(path=tmp_path / "waiting.png")
        await expect(page.get_by_text("The sample product")).to_be_visible(timeout=40_000)
        assert page.url == wanted
        await page.screenshot(path=tmp_path / "product.png")
    assert await state(berth, tenant) == "active"
    await berth.at_rest()


async def test_a_program_is_told_to_come_back_and_wakes(berth: ProxiedStack) -> None:
    tenant = await asleep(berth)
    fetch = berth.stack.control_plane.gateway.fetch
    answer = await fetch(f"{tenant['url']}/orders", method="POST", headers={"Authorization": "Bearer x"})
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) > 0
    await becomes_reachable(berth, tenant["url"])
    await berth.at_rest()


async def test_robots_and_parts_of_pages_wake_nobody(berth: ProxiedStack) -> None:
    tenant = await asleep(berth)
    fetch = berth.stack.control_plane.gateway.fetch
    for path, method, headers in (("/", "GET", ROBOT), ("/app.js", "GET", BROWSER), ("/", "HEAD", BROWSER)):
        assert (await fetch(tenant["url"] + path, method=method, headers=headers)).status_code == 503
    told = (await fetch(f"{tenant['url']}/.berth/visit")).json()
    assert (told["state"], told["percent"]) == ("asleep", 0)
    assert await state(berth, tenant) == "hibernated"


async def test_an_unknown_host_is_404_and_writes_nothing(berth: ProxiedStack) -> None:
    gateway = berth.stack.control_plane.gateway
    await berth.at_rest()
    berth.reset()
    for host in ("nobody-has-this", "x" * 63, "admin", "2"):
        page = await gateway.fetch(f"https://{host}.{gateway.domain}/", headers=BROWSER)
        assert page.status_code == 404
        assert "There is nothing at this address" in page.text
    assert (berth.tables.writes, berth.kubernetes.writes) == (0, 0)


async def test_the_page_comes_while_the_app_is_down(berth: ProxiedStack) -> None:
    tenant = await asleep(berth)
    berth.stack.processes.kill("host")  # the stack starts it again
    page = await berth.stack.control_plane.gateway.fetch(tenant["url"], headers=BROWSER)
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    assert "Opening this address" in page.text
    await until(berth.stack.host_ready, seconds=40)
    await berth.stack.control_plane.gateway.fetch(tenant["url"], headers=BROWSER)
    await becomes_reachable(berth, tenant["url"])
    await berth.at_rest()


async def test_the_stack_has_the_waiting_room_of_a_cluster(berth: ProxiedStack) -> None:
    plane = berth.stack.control_plane
    deployment = json.loads(await kubectl(plane, "get", "deployment", OBJECTS, "-n", OBJECTS, "-o", "json"))
    assert deployment["status"]["readyReplicas"] == 2
    body = berth.stack.registration(plane.name)
    warnings = (await berth.operators.call("PUT", f"clusters/{plane.name}", body))["warnings"]
    assert not [each for each in warnings if "waiting-room" in each]
