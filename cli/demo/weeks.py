"""Two weeks of the demo: who is used, what is reported of it, and the sweep at their end."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

import httpx
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from cli.api import Api, Json
from cli.demo.fleet import Fleet
from cli.demo.report import Report
from local.stack import Stack

SOURCE = "gateway"
REQUESTS = "istio_requests"  # the counter, which ends in _total
WEEK = timedelta(days=7)
BEFORE_SWEEP = timedelta(minutes=5)
SWEEP_AT = time(2, 30, tzinfo=UTC)
MAX_SHARE, DEFAULT_SHARE = 0.7, 0.2  # of all that are awake, how much one sweep may put to sleep
POLL_SECONDS = 0.5
MAX_ENTRIES = 500  # of one request


def sweep_night(now: datetime) -> datetime:
    """Return when the sweep is that comes after two weeks, in which no instance is hibernated."""
    earliest = now + 2 * WEEK + timedelta(hours=1)
    night = datetime.combine(earliest, SWEEP_AT)
    return night if night >= earliest else night + timedelta(days=1)


def settings(night: datetime) -> dict[str, str]:
    """Return the settings of a stack on which most tenants may be put to sleep at once, in one night."""
    return {
        "BERTH_ACTIVITY_REQUIRED_SOURCES": SOURCE,
        "BERTH_SWEEP_SCHEDULE": f"0 {night.minute} {night.hour} {night.day} {night.month} *",
        "BERTH_SWEEP_MAX_SHARE": str(MAX_SHARE),
        "BERTH_SWEEP_CONCURRENCY": "20",
    }


class Agent:
    """Reports which tenants the gateway had requests for, as a program beside a real gateway does.

    Args:
        stack: Whose gateway and clock.
        api: Where to report.
    """

    def __init__(self, stack: Stack, api: Api) -> None:
        self._gateway = stack.control_plane.gateway
        self._cluster = stack.control_plane.name
        self._clock = stack.clock
        self._api = api
        self._counts = Counter[str]()
        self._since = stack.clock.now()

    async def report(self) -> None:
        """Report what was used since the last time, and that nothing else was."""
        counts, until = await self._read(), self._clock.now()
        used = [namespace for namespace in counts if counts[namespace] > self._counts[namespace]]
        for begin in range(0, max(1, len(used)), MAX_ENTRIES):
            entries = [{"namespace": namespace} for namespace in used[begin : begin + MAX_ENTRIES]]
            body: Json = {"source": SOURCE, "cluster": self._cluster, "entries": entries}
            if begin + MAX_ENTRIES >= len(used):  # the last one: what was watched counts once all of it is recorded
                body["watched"] = {"since": self._since.isoformat(), "until": until.isoformat()}
            await self._api.call("POST", "activity", body)
        self._counts, self._since = counts, until

    async def _read(self) -> Counter[str]:
        async with httpx.AsyncClient(trust_env=False) as http:
            text = (await http.get(self._gateway.metrics_url)).text
        counts = Counter[str]()
        for family in text_string_to_metric_families(text):
            for sample in family.samples if family.name == REQUESTS else ():
                namespace = sample.labels["destination_service_namespace"]
                if namespace.startswith("tenant-"):
                    counts[namespace] += round(sample.value)
        return counts


async def pass_two_weeks(stack: Stack, api: Api, fleet: Fleet, night: datetime, console: Console) -> None:
    """Open tenants' addresses in each week, report that, and move the clock to the night of the sweep."""
    agent, clock = Agent(stack, api), stack.clock

    async def use(slugs: Sequence[str], who: str) -> None:
        gateway = stack.control_plane.gateway
        for page in await asyncio.gather(*(gateway.fetch(f"https://{slug}.{gateway.domain}") for slug in slugs)):
            page.raise_for_status()
        await agent.report()
        console.print(f"  {clock.now():%Y-%m-%d %H:%M}  opened through the gateway: {who}")

    console.print("  each time, an agent counts the requests at the gateway, and reports to berth who was used")
    await use([*fleet.busy, fleet.paid, *fleet.idle[:-1]], f"all but {fleet.idle[-1]}")
    for to in (clock.now() + WEEK, night - BEFORE_SWEEP):
        clock.move(to)
        await use(fleet.busy, " to ".join((fleet.busy[0], *fleet.busy[1:][-1:])))
    clock.move(night)


async def follow_sweep(operators: Api, report: Report, fleet: Fleet, console: Console) -> None:
    """Follow the sweep that the timer starts, and compare its decisions with what has to come of each tenant."""
    with console.status("the timer starts the sweep") as status:
        while True:
            sweep = next(iter((await operators.call("GET", "sweeps", limit=1))["items"]), None)
            if sweep is not None:
                status.update(f"the sweep has looked at {sweep['looked_at']}; {sweep['hibernated']} sleep by now")
                if sweep["ended_at"] is not None:
                    break
            await asyncio.sleep(POLL_SECONDS)
    decisions = await operators.all(f"sweeps/{sweep['id']}/decisions")
    report.sweep = sweep | {"decisions": decisions}
    report.expect(sweep["state"] == "done", f"the sweep is {sweep['state']}: {sweep['reason']}")
    expected = dict.fromkeys((*fleet.busy, fleet.paid), "none") | dict.fromkeys(fleet.idle, "hibernated")
    actions = {each["tenant"]: each["action"] for each in decisions}
    report.expect(actions == expected, f"the sweep's actions are {actions}, not {expected}")
