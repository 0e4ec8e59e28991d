"""`./berth demo`: many signups at once, one tenant that sleeps and wakes, and a check of Kubernetes and the tables."""

import asyncio
import json
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

from azure.data.tables.aio import TableServiceClient
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.api import Api, Json, ProblemError, expect_problem
from cli.invariants import violations
from cli.output import console as new_console
from local.stack import Stack

REGION = "local"
MISSING_VERSION = "missing-1.0"
STEPS = ("place", "apply", "start")
TIMEOUT_SECONDS = 180


@dataclass
class Report:
    """The operations, problems, failures and opened addresses so far, for the live table and the output at the end."""

    operations: dict[str, Json] = field(default_factory=dict[str, Json])
    problems: list[str] = field(default_factory=list[str])
    failures: list[str] = field(default_factory=list[str])
    opened: list[str] = field(default_factory=list[str])

    def expect(self, holds: bool, text: str) -> None:
        """Record a check; one that does not hold makes the demo fail."""
        if not holds:
            self.failures.append(text)


async def demo(tenants: int, *, as_json: bool) -> int:
    """Run the demo and return the exit code: 0 only if all checks passed."""
    console = new_console(stderr=as_json)
    began = time.monotonic()
    console.print(
        "starting the stack: Azurite, task hub, Kubernetes control plane, gateway, waiting room, Functions host …"
    )
    async with (
        Stack() as stack,
        Api(stack.api_url, stack.function_key) as api,
        Api(stack.api_url, stack.master_key) as operators,
    ):
        console.print(f"ready after {time.monotonic() - began:.1f} s; signing up {tenants} tenants at once\n")
        report = Report()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await _run(api, report, tenants, console)
                await _open(stack, api, report, ("demo-001", 200), (f"demo-{tenants:03}", 404))
                await _sleep_and_wake(stack, api, operators, report, "demo-001")
                await _check(stack, operators, report, tenants)
        except (AssertionError, TimeoutError, ProblemError) as error:
            report.failures.append(str(error) or f"not finished after {TIMEOUT_SECONDS} s")
        console.print("\nstopping the stack …")
    output = _as_json(report, tenants, seconds=time.monotonic() - began)
    if as_json:
        print(json.dumps(output, indent=2))
    _print(output, console)
    return 1 if report.failures else 0


async def _run(api: Api, report: Report, tenants: int, console: Console) -> None:
    slugs = [f"demo-{number:03}" for number in range(1, tenants + 1)]
    with Live(_live_table(report), console=console, refresh_per_second=8, transient=True) as live:
        watcher = asyncio.create_task(_refresh(live, report))
        async with asyncio.TaskGroup() as group:
            for slug in slugs:
                group.create_task(_sign_up(api, report, slug))
            group.create_task(_sign_up(api, report, "demo-no-image", version=MISSING_VERSION))
            group.create_task(_expect_refusal(api, report, "An_Invalid Name", 422))
        await _expect_refusal(api, report, slugs[0], 409)
        deletion = await api.call("DELETE", f"tenants/{slugs[-1]}")
        await _follow(api, report, f"{slugs[-1]} (delete)", deletion)
        watcher.cancel()


async def _sleep_and_wake(stack: Stack, api: Api, operators: Api, report: Report, slug: str) -> None:
    """Put a tenant to sleep, and open its address: the waiting room wakes it, and then it is there again."""
    await _follow(api, report, f"{slug} (sleep)", await api.call("POST", f"tenants/{slug}/sleep"))
    report.failures += await violations(stack, operators)
    await _open(stack, api, report, (slug, 503))
    tenant = await api.call("GET", f"tenants/{slug}")
    await _follow(api, report, f"{slug} (wake)", await api.call("GET", f"operations/{tenant['operation']}"))
    await _open(stack, api, report, (slug, 200))


async def _refresh(live: Live, report: Report) -> None:
    while True:
        live.update(_live_table(report))
        await asyncio.sleep(0.125)


async def _sign_up(api: Api, report: Report, slug: str, version: str = "1.0.0") -> None:
    await _follow(api, report, slug, await api.call("POST", "tenants", _signup(slug, version)))


async def _expect_refusal(api: Api, report: Report, slug: str, status: int) -> None:
    async with expect_problem(status, report.problems):
        await api.call("POST", "tenants", _signup(slug))


async def _follow(api: Api, report: Report, name: str, operation: Json) -> None:
    async for each in api.follow(operation):
        report.operations[name] = each


def _signup(slug: str, version: str = "1.0.0") -> Json:
    return {
        "slug": slug,
        "plan": "trial",
        "region": REGION,
        "email": "owner@example.com",
        "display_name": f"Demo {slug}",
        "version": version,
    }


async def _check(stack: Stack, operators: Api, report: Report, tenants: int) -> None:
    """Check what must hold on any stack at rest, then the states and the latency rows that this demo expects."""
    report.failures += await violations(stack, operators)
    active = {f"demo-{number:03}" for number in range(1, tenants)}
    states = {each["slug"]: each["state"] for each in await operators.all("tenants")}
    expected = dict.fromkeys(active, "active") | {f"demo-{tenants:03}": "deleted", "demo-no-image": "failed"}
    report.expect(states == expected, f"tenants are {states}, not {expected}")
    async with TableServiceClient.from_connection_string(stack.tables_connection) as tables:
        rows = [row async for row in tables.get_table_client("latency").list_entities()]
    ended = tenants + 4  # signups, one of them without an image; a deletion, a hibernation and a wake
    report.expect(len(rows) == ended, f"there are {len(rows)} latency rows, not {ended}")


async def _open(stack: Stack, api: Api, report: Report, *expected: tuple[str, int]) -> None:
    """Open tenants' addresses through the gateway, as their users do, and compare the statuses."""
    gateway = stack.control_plane.gateway
    for slug, status in expected:
        tenant = await api.call("GET", f"tenants/{slug}")  # before it is opened, which may wake it
        url = tenant["url"] or f"https://{slug}.{gateway.domain}"  # a deleted tenant has no address any more
        page = await gateway.fetch(url)
        report.opened.append(f"curl {url} -> {page.status_code}, {slug} is {tenant['state']}")
        report.expect(page.status_code == status, f"{url} has the status {page.status_code}, not {status}")


def _live_table(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("tenant", "state", "%", "message"):
        table.add_column(column, justify="right" if column == "%" else "left")
    for name, operation in sorted(report.operations.items())[:40]:
        running = next((step["message"] for step in operation["steps"] if step["state"] == "running"), "")
        table.add_row(name, operation["state"], str(operation["percent"]), operation["reason"] or running)
    return table


def _as_json(report: Report, tenants: int, *, seconds: float) -> dict[str, Any]:
    rows: list[Json] = [
        {
            "tenant": name,
            "kind": operation["kind"],
            "state": operation["state"],
            "reason": operation["reason"],
            "seconds": {step["name"]: step["seconds"] for step in operation["steps"] if step["seconds"] is not None},
        }
        for name, operation in sorted(report.operations.items())
    ]
    provisioned: list[dict[str, float]] = [
        row["seconds"] for row in rows if (row["kind"], row["state"]) == ("provision", "succeeded")
    ]
    return {
        "tenants": tenants,
        "operations": rows,
        "percentiles": {step: _percentiles([times[step] for times in provisioned]) for step in STEPS}
        | {"all steps": _percentiles([sum(times.values()) for times in provisioned])},
        "opened": report.opened,
        "problems": report.problems,
        "failures": report.failures,
        "seconds": round(seconds, 1),
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:
        return {name: round(sum(values), 3) for name in ("p50", "p95", "p99")}
    cuts = quantiles(values, n=100, method="inclusive")
    return {f"p{share}": round(cuts[share - 1], 3) for share in (50, 95, 99)}


def _print(output: dict[str, Any], console: Console) -> None:
    console.print("steps: place chooses a cluster, apply creates the Kubernetes objects, start waits for the pod\n")
    table = Table(title="operations, seconds per step")
    steps = (*STEPS, "stop", "remove")
    for column in ("tenant", "state", *steps):
        table.add_column(column, justify="right" if column in steps else "left")
    for row in output["operations"]:
        cells = [f"{row['seconds'][step]:.2f}" if step in row["seconds"] else "" for step in steps]
        table.add_row(row["tenant"], row["state"], *cells)
    console.print(table)
    table = Table(title=f"provisioning {output['tenants']} tenants at once, seconds")
    for column in ("step", "p50", "p95", "p99"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for step, values in output["percentiles"].items():
        table.add_row(step, *(f"{value:.2f}" for value in values.values()))
    console.print(table)
    console.print("\nopened through the gateway:")
    for opened in output["opened"]:
        console.print(textwrap.indent(opened, "  "))
    failed = [f"{row['tenant']} failed: {row['reason']}" for row in output["operations"] if row["state"] == "failed"]
    console.print("\nexpected problems:")
    for problem in [*output["problems"], *failed]:
        console.print(textwrap.indent(problem, "  "))
    if output["failures"]:
        console.print(f"\n[bold red]checks failed[/] after {output['seconds']} s:", markup=True)
        for failure in output["failures"]:
            console.print(f"  {failure}")
    else:
        console.print(
            f"\n[bold green]all checks passed[/] after {output['seconds']} s: "
            "Kubernetes and the tables hold exactly the tenants that berth reports",
            markup=True,
        )
