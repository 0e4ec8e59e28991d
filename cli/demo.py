"""`./berth demo`: the main job on show, checked against what Kubernetes and the tables say themselves."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

from azure.data.tables.aio import TableServiceClient
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cli.api import Api, Json, ProblemError, problem_expected
from local.stack import Stack

REGION = "local"
IMAGE_THAT_DOES_NOT_EXIST = "missing-1.0"
STEPS = ("place", "apply", "start")
DEADLINE_SECONDS = 180


@dataclass
class Show:
    """What is known so far, for the live table and for the report at the end."""

    operations: dict[str, Json] = field(default_factory=dict[str, Json])
    problems: list[str] = field(default_factory=list[str])
    failures: list[str] = field(default_factory=list[str])

    def expect(self, holds: bool, text: str) -> None:
        """Note a check; one that does not hold makes the demo fail."""
        if not holds:
            self.failures.append(text)


async def demo(tenants: int, *, as_json: bool) -> int:
    """Run the demo and return the exit code: 0 only if everything is as it should be."""
    console = Console(stderr=as_json)
    began = time.monotonic()
    console.print("starting the stack: Azurite, task hub, Kubernetes control plane, Functions host …")
    async with Stack() as stack, Api(stack.api_url, stack.function_key) as api:
        console.print(f"ready after {time.monotonic() - began:.1f} s; signing up {tenants} tenants at once\n")
        show = Show()
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await _perform(api, show, tenants, console)
                await _check(stack, api, show, tenants)
        except (AssertionError, TimeoutError, ProblemError) as error:
            show.failures.append(str(error) or f"not done after {DEADLINE_SECONDS} s")
        report = _report(show, tenants)
        console.print("\nstopping the stack …")
    report["seconds"] = round(time.monotonic() - began, 1)
    if as_json:
        print(json.dumps(report, indent=2))
    _print_report(report, show, console)
    return 1 if show.failures else 0


async def _perform(api: Api, show: Show, tenants: int, console: Console) -> None:
    slugs = [f"demo-{number:03}" for number in range(1, tenants + 1)]
    with Live(_live_table(show), console=console, refresh_per_second=8, transient=True) as live:
        watcher = asyncio.create_task(_refresh(live, show))
        async with asyncio.TaskGroup() as group:
            for slug in slugs:
                group.create_task(_sign_up(api, show, slug))
            group.create_task(_sign_up(api, show, "demo-no-image", version=IMAGE_THAT_DOES_NOT_EXIST))
            group.create_task(_refused(api, show, "An_Invalid Name", 422))
        await _refused(api, show, slugs[0], 409)
        deletion = await api.call("DELETE", f"tenants/{slugs[-1]}")
        await _follow(api, show, f"{slugs[-1]} (delete)", deletion)
        watcher.cancel()


async def _refresh(live: Live, show: Show) -> None:
    while True:
        live.update(_live_table(show))
        await asyncio.sleep(0.125)


async def _sign_up(api: Api, show: Show, slug: str, version: str = "1.0.0") -> None:
    await _follow(api, show, slug, await api.call("POST", "tenants", _signup(slug, version)))


async def _refused(api: Api, show: Show, slug: str, status: int) -> None:
    async with problem_expected(status, show.problems):
        await api.call("POST", "tenants", _signup(slug))


async def _follow(api: Api, show: Show, name: str, operation: Json) -> None:
    async for each in api.follow(operation):
        show.operations[name] = each


def _signup(slug: str, version: str = "1.0.0") -> Json:
    return {
        "slug": slug,
        "plan": "trial",
        "region": REGION,
        "email": "owner@example.com",
        "display_name": f"Demo {slug}",
        "version": version,
    }


async def _check(stack: Stack, api: Api, show: Show, tenants: int) -> None:
    """Ask Kubernetes and the tables themselves, not berth, whether all is as it should be."""
    alive = {f"demo-{number:03}" for number in range(1, tenants)}
    states = {each["slug"]: each["state"] for each in await api.all("tenants")}
    wanted = dict.fromkeys(alive, "active") | {f"demo-{tenants:03}": "deleted", "demo-no-image": "failed"}
    show.expect(states == wanted, f"tenants are {states}, not {wanted}")

    pods = await _kubectl(stack, "pods")
    ready = {
        each["metadata"]["namespace"]
        for each in pods
        if any(c["type"] == "Ready" and c["status"] == "True" for c in each["status"].get("conditions", []))
    }
    show.expect(ready == {f"tenant-{slug}" for slug in alive}, f"ready pods are in {sorted(ready)}")
    namespaces = {each["metadata"]["name"] for each in await _kubectl(stack, "namespaces")}
    show.expect(namespaces == {f"tenant-{slug}" for slug in alive}, f"namespaces are {sorted(namespaces)}")
    volumes = {
        each["spec"]["claimRef"]["namespace"] for each in await _kubectl(stack, "persistentvolumes", all_of=True)
    }
    show.expect(volumes == namespaces, f"volumes belong to {sorted(volumes)}")

    async with TableServiceClient.from_connection_string(stack.tables_connection) as tables:
        latency = [row async for row in tables.get_table_client("latency").list_entities()]
        show.expect(len(latency) == tenants + 2, f"{len(latency)} latency rows, not {tenants + 2}")
        rows: list[Json] = [{**row} async for row in tables.get_table_client("tenants").list_entities()]
        open_ones = [row["RowKey"] for row in rows if row.get("operation_open")]
        show.expect(not open_ones, f"operations are still open: {open_ones}")
        entities = tables.get_table_client("clusters").list_entities()
        places: list[Json] = [{**entity} async for entity in entities]
        placed = {row["RowKey"].removeprefix("tenant:") for row in places if row["RowKey"].startswith("tenant:")}
        show.expect(placed == alive, f"places are held by {sorted(placed)}")
        allocated = sum(row["allocated"] for row in places if row["RowKey"] == "allocation")
        weights = sum(row["weight"] for row in places if row["RowKey"].startswith("tenant:"))
        show.expect(allocated == weights, f"allocated are {allocated}, but the places weigh {weights}")


async def _kubectl(stack: Stack, kind: str, *, all_of: bool = False) -> list[Json]:
    selection = [] if all_of else ["-l", "app.kubernetes.io/managed-by=berth"]
    command = [*stack.kubectl, "get", kind, "-A", *selection, "-o", "json"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, f"kubectl get {kind} failed"
    return json.loads(output)["items"]


def _live_table(show: Show) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("tenant", "state", "%", "what is happening"):
        table.add_column(column, justify="right" if column == "%" else "left")
    for name, operation in sorted(show.operations.items())[:40]:
        running = next((step["message"] for step in operation["steps"] if step["state"] == "running"), "")
        table.add_row(name, operation["state"], str(operation["percent"]), operation["reason"] or running)
    return table


def _report(show: Show, tenants: int) -> dict[str, Any]:
    rows: list[Json] = [
        {
            "tenant": name,
            "state": operation["state"],
            "reason": operation["reason"],
            "seconds": {step["name"]: step["seconds"] for step in operation["steps"] if step["seconds"] is not None},
        }
        for name, operation in sorted(show.operations.items())
    ]
    provisioned: list[dict[str, float]] = [
        row["seconds"] for row in rows if row["state"] == "succeeded" and "start" in row["seconds"]
    ]
    return {
        "tenants": tenants,
        "operations": rows,
        "percentiles": {step: _percentiles([seconds[step] for seconds in provisioned]) for step in STEPS}
        | {"all steps": _percentiles([sum(seconds.values()) for seconds in provisioned])},
        "problems": show.problems,
        "failures": show.failures,
    }


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:
        return {name: round(sum(values), 3) for name in ("p50", "p95", "p99")}
    cuts = quantiles(values, n=100, method="inclusive")
    return {f"p{share}": round(cuts[share - 1], 3) for share in (50, 95, 99)}


def _print_report(report: dict[str, Any], show: Show, console: Console) -> None:
    table = Table(title="operations, seconds per step")
    steps = (*STEPS, "remove")
    for column in ("tenant", "state", *steps):
        table.add_column(column, justify="right" if column in steps else "left")
    for row in report["operations"]:
        cells = [f"{row['seconds'][step]:.2f}" if step in row["seconds"] else "" for step in steps]
        table.add_row(row["tenant"], row["state"], *cells)
    console.print(table)
    table = Table(title=f"provisioning {report['tenants']} tenants at once, seconds")
    for column in ("step", "p50", "p95", "p99"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for step, values in report["percentiles"].items():
        table.add_row(step, *(f"{value:.2f}" for value in values.values()))
    console.print(table)
    failed = [f"{row['tenant']} failed: {row['reason']}" for row in report["operations"] if row["state"] == "failed"]
    console.print("\nproblems, all of them as they should be:")
    for problem in [*report["problems"], *failed]:
        console.print(f"  {problem}", markup=False)
    if show.failures:
        console.print("\n[bold red]not as it should be:[/]")
        for failure in show.failures:
            console.print(f"  {failure}", markup=False)
    else:
        console.print(
            f"\n[bold green]all is as it should be[/] after {report['seconds']} s: "
            "Kubernetes and the tables hold exactly the tenants that berth reports"
        )
