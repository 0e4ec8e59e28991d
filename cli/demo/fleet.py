"""The demo's tenants: who they are, and their signups."""

import asyncio
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.api import Api, Json, expect_problem
from cli.demo.report import Report

REGION = "local"
WITHOUT_IMAGE, MISSING_VERSION = "demo-no-image", "missing-1.0"
MIN_TENANTS = 5  # with fewer, nobody would be left who is woken
LIVE_ROWS = 40


@dataclass(frozen=True, slots=True)
class Fleet:
    """The demo's tenants by what becomes of them.

    Args:
        count: How many sign up, besides the one without an image.
    """

    count: int

    @property
    def slugs(self) -> list[str]:
        """All of them."""
        return [f"demo-{number:03}" for number in range(1, self.count + 1)]

    @property
    def deleted(self) -> str:
        """The one that is deleted at once."""
        return self.slugs[-1]

    @property
    def busy(self) -> list[str]:
        """Those that are used every week."""
        return self.slugs[: self.count // 3]

    @property
    def paid(self) -> str:
        """The one whose plan lets it never sleep."""
        return self.slugs[self.count // 3]

    @property
    def idle(self) -> list[str]:
        """Those that nobody uses after the first day; nobody ever uses the last one."""
        return self.slugs[self.count // 3 + 1 : -1]

    @property
    def woken(self) -> list[str]:
        """Those of them that are woken again, the first by a visitor."""
        return self.idle[:2]

    async def sign_up(self, api: Api, report: Report, console: Console) -> None:
        """Sign all up at once, with what has to be refused or to fail, and delete one again."""
        with Live(_table(report), console=console, refresh_per_second=8, transient=True) as live:
            watcher = asyncio.create_task(_refresh(live, report))
            async with asyncio.TaskGroup() as group:
                for slug in self.slugs:
                    plan = "standard" if slug == self.paid else "trial"
                    group.create_task(_sign_up(api, report, slug, plan=plan))
                group.create_task(_sign_up(api, report, WITHOUT_IMAGE, version=MISSING_VERSION))
                group.create_task(_expect_refusal(api, report, "An_Invalid Name", 422))
            await _expect_refusal(api, report, self.slugs[0], 409)
            deletion = await api.call("DELETE", f"tenants/{self.deleted}")
            await report.follow(api, f"{self.deleted} (delete)", deletion)
            watcher.cancel()


async def _sign_up(api: Api, report: Report, slug: str, **fields: str) -> None:
    await report.follow(api, slug, await api.call("POST", "tenants", _signup(slug, **fields)))


async def _expect_refusal(api: Api, report: Report, slug: str, status: int) -> None:
    async with expect_problem(status, report.problems):
        await api.call("POST", "tenants", _signup(slug))


def _signup(slug: str, **fields: str) -> Json:
    return {
        "slug": slug,
        "plan": "trial",
        "region": REGION,
        "email": "owner@example.com",
        "display_name": f"Demo {slug}",
        "version": "1.0.0",
        **fields,
    }


async def _refresh(live: Live, report: Report) -> None:
    while True:
        live.update(_table(report))
        await asyncio.sleep(0.125)


def _table(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("tenant", "state", "%", "message"):
        table.add_column(column, justify="right" if column == "%" else "left")
    for name, operation in sorted(report.operations.items())[:LIVE_ROWS]:
        running = next((step["message"] for step in operation["steps"] if step["state"] == "running"), "")
        table.add_row(name, operation["state"], str(operation["percent"]), operation["reason"] or running)
    return table
