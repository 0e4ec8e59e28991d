"""The demo's course, and the checks at its end."""

import asyncio
import gzip
import json
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import httpx
from azure.data.tables.aio import TableServiceClient
from rich.console import Console

from cli.api import Api, Json, ProblemError
from cli.demo.costs import report_costs
from cli.demo.fleet import WITHOUT_IMAGE, Fleet
from cli.demo.report import Report
from cli.demo.weeks import DEFAULT_SHARE, MAX_SHARE, follow_sweep, pass_two_weeks, settings, sweep_night
from cli.invariants import violations
from cli.output import console as new_console
from local.stack import Stack

TIMEOUT_SECONDS = 180
EXPORT_SECONDS = 12  # in which all that was recorded is sent: metrics every 10 s
SERVED, UNKNOWN, WAITING = 200, 404, 503


async def demo(tenants: int, page: Path | None, *, recording: Path | None, as_json: bool) -> int:
    """Run the demo and return the exit code: 0 only if all checks passed.

    Args:
        tenants: How many sign up.
        page: Where the page with the costs is written; by default in a new directory for temporary files.
        recording: Where the telemetry that the host and the app have sent is written, if anywhere: one JSON document a
            line, compressed by gzip.
        as_json: Print a report as JSON, and everything else as errors.
    """
    console = new_console(stderr=as_json)
    began = time.monotonic()
    page = page or Path(tempfile.mkdtemp(prefix="berth-demo-")) / "report.html"
    night = sweep_night(datetime.now(UTC))
    console.print(
        "starting the stack: Azurite, task hub, Kubernetes control plane, gateway, waiting room, Functions host …"
    )
    async with (
        Stack(settings(night), clock=True, telemetry=True) as stack,
        Api(stack.api_url, stack.function_key) as api,
        Api(stack.api_url, stack.master_key) as operators,
    ):
        console.print(f"ready after {time.monotonic() - began:.1f} s")
        report = Report()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await _run(stack, api, operators, report, Fleet(tenants), night, page, console)
        except (AssertionError, TimeoutError, ProblemError, httpx.HTTPError) as error:
            report.failures.append(str(error) or f"not finished after {TIMEOUT_SECONDS} s")
        if recording is not None:
            await asyncio.sleep(EXPORT_SECONDS)
            _write(recording, await stack.telemetry.envelopes())
        console.print("\nstopping the stack …")
    seconds = time.monotonic() - began
    if as_json:
        print(json.dumps(report.as_json(tenants, seconds=seconds), indent=2))
    report.print_end(console, seconds)
    return 1 if report.failures else 0


def _write(recording: Path, envelopes: Iterable[Json]) -> None:
    recording.write_bytes(gzip.compress("".join(json.dumps(each) + "\n" for each in envelopes).encode()))


async def _run(
    stack: Stack,
    api: Api,
    operators: Api,
    report: Report,
    fleet: Fleet,
    night: datetime,
    page: Path,
    console: Console,
) -> None:
    first = stack.clock.now().date()
    console.print(f"\n1. signing up {fleet.count} tenants at once")
    await fleet.sign_up(api, report, console)
    report.print_signups(console)
    await _open(stack, api, report, console, fleet.busy[0], SERVED)
    await _open(stack, api, report, console, fleet.deleted, UNKNOWN)

    console.print("\n2. two weeks pass: the clock of the stack is moved")
    await pass_two_weeks(stack, api, fleet, night, console)

    console.print(
        f"\n3. it is {night:%H:%M}: a timer starts the nightly sweep, which puts to sleep what nobody uses\n"
        f"  at most {100 * MAX_SHARE:g} % of the fleet here, {100 * DEFAULT_SHARE:g} % by default: "
        "if more look dormant, the signals are more likely wrong"
    )
    await follow_sweep(operators, report, fleet, console)
    if report.failures:
        return
    report.print_sweep(console, (fleet.busy[0], fleet.paid, fleet.idle[0], fleet.idle[-1]))
    report.failures += await violations(stack, operators)

    console.print("\n4. two of them are woken")
    visited, woken = fleet.woken
    await asyncio.gather(
        _wake(api, report, visited, await _visit(stack, api, report, console, visited)),
        _wake(api, report, woken, await api.call("POST", f"tenants/{woken}/wake")),
    )
    for slug in (visited, woken):
        await _open(stack, api, report, console, slug, SERVED)
    await _check(stack, operators, report, fleet)
    if report.failures:
        return

    console.print(
        "\n5. another week passes; this is what all of it cost, at Azure's list prices, and how long it took\n"
    )
    await report_costs(stack, operators, report, fleet, first, page, console)


async def _visit(stack: Stack, api: Api, report: Report, console: Console, slug: str) -> Json:
    """Open the address of a tenant that sleeps, and return the operation by which the waiting room wakes it."""
    await _open(stack, api, report, console, slug, WAITING)
    tenant = await api.call("GET", f"tenants/{slug}")
    return await api.call("GET", f"operations/{tenant['operation']}")


async def _wake(api: Api, report: Report, slug: str, operation: Json) -> None:
    await report.follow(api, f"{slug} (wake)", operation)


async def _open(stack: Stack, api: Api, report: Report, console: Console, slug: str, status: int) -> None:
    """Open a tenant's address through the gateway, as its users do, and compare the status."""
    gateway = stack.control_plane.gateway
    tenant = await api.call("GET", f"tenants/{slug}")  # before it is opened, which may wake it
    url = tenant["url"] or f"https://{slug}.{gateway.domain}"  # a deleted tenant has no address any more
    page = await gateway.fetch(url)
    opened = f"curl {url} -> {page.status_code}, {slug} is {tenant['state']}"
    console.print(f"  {opened}")
    report.opened.append(opened)
    report.expect(page.status_code == status, f"{url} has the status {page.status_code}, not {status}")


async def _check(stack: Stack, operators: Api, report: Report, fleet: Fleet) -> None:
    """Check what must hold on any stack at rest, then the states and the latency rows that this demo expects."""
    report.failures += await violations(stack, operators)
    expected = dict.fromkeys(fleet.slugs, "active") | dict.fromkeys(fleet.idle, "hibernated")
    expected |= dict.fromkeys(fleet.woken, "active") | {fleet.deleted: "deleted", WITHOUT_IMAGE: "failed"}
    states = {each["slug"]: each["state"] for each in await operators.all("tenants")}
    report.expect(states == expected, f"tenants are {states}, not {expected}")
    async with TableServiceClient.from_connection_string(stack.tables_connection) as tables:
        rows = [row async for row in tables.get_table_client("latency").list_entities() if row["slug"]]  # no sweep
    ended = fleet.count + 2 + len(fleet.idle) + len(fleet.woken)  # one signup without an image, one deletion
    report.expect(len(rows) == ended, f"there are {len(rows)} latency rows, not {ended}")
