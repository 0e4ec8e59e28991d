"""The end of the demo: one more week, and what it all cost and how long it took."""

import asyncio
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path

import httpx
from rich.console import Console

from cli.api import Api, Json
from cli.demo.fleet import Fleet
from cli.demo.report import Report
from cli.demo.weeks import POLL_SECONDS, WEEK
from cli.report.collect import collect
from cli.report.run import print_report, write_page
from local.stack import Stack
from shared.application.metering import MARGIN

TIMERS = ("roll_up_latency", "meter_costs")


async def report_costs(
    stack: Stack, operators: Api, report: Report, fleet: Fleet, first: date, page: Path, console: Console
) -> None:
    """Let a week pass, have all of it counted, print the report of the whole time and write its page."""
    stack.clock.move(WEEK)
    with console.status("two timers add up costs and latency"):
        await _count(stack, operators)
    found = await collect(operators, first.isoformat(), None)
    print_report(console, found)
    write_page(found, page)
    console.print(f"\n  the same with charts, for any browser: {page}")
    report.costs, report.page = asdict(found), str(page)
    compare(report, fleet)


async def _count(stack: Stack, operators: Api) -> None:
    """Run the hourly timers of costs and latency now, until both have seen what has happened so far."""
    now = stack.clock.now()
    async with httpx.AsyncClient(headers={"x-functions-key": stack.master_key}, trust_env=False) as http:
        for name in TIMERS:
            (await http.post(f"{stack.api_url}/admin/functions/{name}", json={})).raise_for_status()
    while True:
        counted = (await operators.call("GET", "reports/fleet"))["metered_until"]
        rolled = (await operators.call("GET", "reports/latency"))["rolled_at"]
        wanted = ((counted, now - MARGIN), (rolled, now))
        if all(each is not None and datetime.fromisoformat(each) >= since for each, since in wanted):
            return
        await asyncio.sleep(POLL_SECONDS)


def compare(report: Report, fleet: Fleet) -> None:
    """Compare the report with what the demo has done."""
    costs: Json = report.costs["by_plan"]
    awake, asleep = len(fleet.busy) + 1 + len(fleet.woken), len(fleet.idle) - len(fleet.woken)
    counted = report.costs["fleet"]["awake"], report.costs["fleet"]["asleep"]
    report.expect(counted == (awake, asleep), f"{counted} tenants are counted, not {(awake, asleep)}")
    report.expect(not costs["unpriced"], f"there is no price for {costs['unpriced']}")
    succeeded = {each["kind"]: each["succeeded"] for each in report.costs["latency"]["items"]}
    ended = {"provision": fleet.count, "hibernate": len(fleet.idle), "wake": len(fleet.woken), "delete": 1, "sweep": 1}
    report.expect(succeeded == ended, f"the report of latency has {succeeded}, not {ended}")
