"""A headless Chromium that visits the hosts of local gateways as a person does."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from local.gateway.process import GatewayProcess

FLAGS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-proxy-server"),
)


class Visitor:
    """Opens pages, each in a profile of its own."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    async def page(
        self, *, width: int = 1280, height: int = 800, javascript: bool = True, user_agent: str | None = None
    ) -> Page:
        """Return an empty page of a size, as a browser with or without JavaScript shows it."""
        return await self._browser.new_page(
            viewport={"width": width, "height": height},
            java_script_enabled=javascript,
            user_agent=user_agent,
            ignore_https_errors=True,  # the stack has its own certificate authority
        )


@asynccontextmanager
async def visitor(*gateways: GatewayProcess) -> AsyncGenerator[Visitor]:
    """Run a browser that finds the hosts of gateways by their usual addresses, without a port, and no other host."""
    hosts = [
        rule
        for each in gateways
        for rule in (
            f"MAP *.{each.domain}:80 127.0.0.1:{each.http_port}",
            f"MAP *.{each.domain}:443 127.0.0.1:{each.https_port}",
            f"MAP *.{each.domain} 127.0.0.1",
        )
    ]
    rules = ",".join([*hosts, "MAP * ^NOTFOUND", "EXCLUDE 127.0.0.1"])
    program = Path(os.environ["BERTH_CHROMIUM"])
    carried = {
        "LD_LIBRARY_PATH": program.with_name("al2023") / "lib",
        "FONTCONFIG_FILE": program.with_name("fonts") / "fonts.conf",
    }
    environment = {name: str(path) for name, path in carried.items() if path.exists()}  # a person's own needs none
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program,
            args=[*FLAGS, f"--host-resolver-rules={rules}"],
            env={**os.environ, **environment},
        )
        async with browser:
            yield Visitor(browser)
