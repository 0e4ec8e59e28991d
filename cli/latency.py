"""`./berth latency`: how long operations took, from the daily roll-ups, as a table and as charts."""

import argparse
import json
from collections.abc import Sequence

from rich.bar import Bar
from rich.table import Table

from cli.api import Json
from cli.grid import Grid
from cli.output import console
from cli.running import connect

QUANTILES = ("p50", "p95", "p99")
BAR_COLUMNS = 60
KINDS = ("provision", "hibernate", "wake", "delete", "sweep")
GROUPINGS = ("none", "day", "week", "outcome", "cluster", "plan", "step")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "Set BERTH_URL and BERTH_KEY (the host's master key) to use another berth than the running stack."
    parser.add_argument("--kind", choices=KINDS, help="only this kind of operation, or sweeps (default: all)")
    parser.add_argument("--from", metavar="DAY", help="first day in UTC, such as 2026-03-01 (default: 6 days before)")
    parser.add_argument("--to", metavar="DAY", help="last day in UTC (default: today)")
    parser.add_argument("--by", choices=GROUPINGS, default="none", help="what has a line of its own")
    parser.add_argument("--plot", action="store_true", help="draw p50 and p95 of each line as bars too")
    parser.add_argument("--json", action="store_true", help="print JSON")


async def run(options: argparse.Namespace) -> int:
    """Print a report."""
    asked = {name: getattr(options, name) for name in ("kind", "from", "to", "by")}
    async with connect(operator=True) as api:
        report = await api.call("GET", "reports/latency", **{name: each for name, each in asked.items() if each})
    if options.json:
        print(json.dumps(report, indent=2))
        return 0
    out = console()
    out.print(grid(report).table, f"\n{footer(report)}")
    if options.plot:
        out.print(_chart([each for each in report["items"] if each["p95"] is not None]))
    return 0


def grid(report: Json) -> Grid:
    """Return how long the operations of each kind and group took."""
    grouping = "" if report["by"] == "none" else report["by"]
    rows: list[list[str]] = []
    for line in report["items"]:
        seconds = [_seconds(line[name]) for name in (*QUANTILES, "mean", "waiting_mean")]
        reasons = ", ".join(f"{count} {name}" for name, count in line["reasons"].items())
        rows.append([line["kind"], line["group"], str(line["count"]), str(line["failures"]), *seconds, reasons])
    numbers = ["count", "failed", *QUANTILES, "mean", "of it waiting"]
    return Grid(["kind", grouping, *numbers, "why not"], rows, numbers)


def footer(report: Json) -> str:
    """Return what the numbers of a report mean."""
    days = f"{report['first_day']} to {report['last_day']}"
    if not report["items"]:
        if not report["rolled_at"]:
            return "nothing was rolled up yet: that is done once an hour"
        return f"nothing has ended from {days}, as of {report['rolled_at']}"
    error = f"{100 * report['items'][0]['error']:g} %"
    return f"seconds of what succeeded, {days}, as of {report['rolled_at']}; quantiles are within {error}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _chart(lines: Sequence[Json]) -> Table:
    """Return a bar for p50 and p95 of each line; all lines of a kind have one scale."""
    longest = {each["kind"]: 0.0 for each in lines}
    for each in lines:
        longest[each["kind"]] = max(longest[each["kind"]], each["p95"])
    chart = Table("", "", "", "", "seconds", box=None)
    for each in lines:
        names = each["kind"], each["group"]
        for quantile in ("p50", "p95"):
            bar = Bar(longest[each["kind"]] or 1.0, 0, each[quantile], width=BAR_COLUMNS)
            chart.add_row(*names, quantile, bar, _seconds(each[quantile]))
            names = "", ""
    return chart
