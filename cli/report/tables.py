"""The tables of a report."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from cli import costs, latency
from cli.amounts import money
from cli.api import Json
from cli.grid import Grid
from cli.report.collect import Report

DECISIONS = ("keep", "unknown", "hibernated", "not done")


def fleet_grid(fleet: Json) -> Grid:
    """Return what there is on each cluster, by plan."""
    rows: list[list[str]] = []
    for cluster in fleet["clusters"]:
        awake, asleep = (sum(each[name] for each in cluster["plans"]) for name in ("awake", "asleep"))
        nodes = ", ".join(_nodes(each) for each in cluster["nodes"])
        rows += [[cluster["cluster"], *_counts(each), "", ""] for each in cluster["plans"]]
        whole = {"plan": "all", "awake": awake, "asleep": asleep, "run_rate": cluster["run_rate"]}
        rows.append([cluster["cluster"], *_counts(whole), cluster["region"], nodes])
    numbers = ["awake", "asleep", "a month"]
    return Grid(["cluster", "plan", *numbers, "region", "nodes"], rows, numbers)


def sweep_grid(sweeps: Sequence[Json]) -> Grid:
    """Return what sweeps decided and did, in numbers."""
    rows = [
        [
            *(each["started_at"][:16].replace("T", " "), each["state"], str(each["looked_at"])),
            *(str(number) for number in decisions(each).values()),
            f"{each['saves']:,.2f}",
            each["reason"],
        ]
        for each in sweeps
    ]
    numbers = ["looked at", *DECISIONS, "saves a month"]
    return Grid(["began", "state", *numbers, "why not"], rows, numbers)


def decisions(sweep: Json) -> Mapping[str, int]:
    """Return on how many tenants a sweep decided what; those that it did not put to sleep after all are apart."""
    not_done = sweep["hibernate"] - sweep["hibernated"]
    return dict(zip(DECISIONS, (sweep["keep"], sweep["unknown"], sweep["hibernated"], not_done), strict=True))


def all_tables(report: Report) -> Sequence[tuple[str, Grid, str]]:
    """Return a title, a table and what to know of it, for each part of a report."""
    currency = report.by_plan["currency"]
    fleet, until = fleet_grid(report.fleet), report.fleet["metered_until"] or "no metering yet: it is done every hour"
    last = report.sweeps[-1:]
    return [
        (
            f"The fleet, in {currency}",
            fleet,
            f"as of {until}. A plan has its shares of all overhead, a cluster its own",
        ),
        (f"Costs by component, in {currency}", costs.fleet_grid(report.by_component), ""),
        (f"Costs by plan, in {currency}", costs.fleet_grid(report.by_plan), ""),
        ("How long operations took, in seconds", latency.grid(report.latency), latency.footer(report.latency)),
        ("The last sweep", sweep_grid(last), "" if last else "no sweep began in these days"),
    ]


def _counts(plan: Json) -> Sequence[str]:
    return [plan["plan"], str(plan["awake"]), str(plan["asleep"]), money(Decimal(plan["run_rate"]))]


def _nodes(nodes: Json) -> str:
    return f"{nodes['count']} {nodes['machine'] or 'of an unknown size'}{' (spot)' if nodes['spot'] else ''}"
