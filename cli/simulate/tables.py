"""How the report of a simulation is printed."""

from typing import Any

from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from cli.simulate.report import GOALS, policy_name

BAR_COLUMNS = 50
NAMES = {"low_use": "low use", "asleep": "asleep", "control_plane": "berth itself"}


def print_report(console: Console, report: dict[str, Any]) -> None:
    """Print what was assumed, what customers cost under each policy, and whether the goals are met."""
    console.print(
        f"{report['tenants']} signups in {report['days']} days, seed {report['seed']}, prices of {report['region']} "
        f"({report['price_book']})"
    )
    for each in (*report["population"], *report["rules"]):
        console.print(f"  {each}")
    for name, assumed in report["storages"].items():
        runs = [each for each in report["runs"] if each["storage"] == name]
        console.print(f"\n{name}: {assumed}")
        console.print(_table(runs))
        console.print(_chart(runs))
    _print_goals(console, report)
    for each in report["warnings"]:
        console.print(f"\n{each}")


def _table(runs: list[dict[str, Any]]) -> Table:
    table = Table(box=None, title="dollars a month for each customer", title_justify="left")
    columns = ("idle days", "all", "saved", "low use", "pays", "leaves", "asleep", "berth", "cluster", "awake", "nodes")
    for each in columns:
        table.add_column(each, justify="right")
    for run in runs:
        month, kinds, last = run["cost_per_month"], run["by_kind"], run["days"][-1]
        costs = [
            run["customer"],
            run["saved_by_sleep"],
            *(kinds[kind] for kind in ("low use", "pays", "leaves")),
            *(month[name] for name in ("asleep", "control_plane", "clusters")),
        ]
        digits = [2, 2, 2, 2, 2, 2, 4, 4]
        numbers = [_dollars(cost, each) for cost, each in zip(costs, digits, strict=True)]
        table.add_row(policy_name(run["idle_days"]), *numbers, f"{run['awake_share']:.0%}", str(last["nodes"]))
    return table


def _chart(runs: list[dict[str, Any]]) -> Table:
    """Return a bar for what a customer costs under each policy: of all, and of those with low use."""
    chart, most = Table("idle days", "", "", "dollars a month", box=None), _most(runs)
    for run in runs:
        name = policy_name(run["idle_days"])
        for label, cost in (("all", run["customer"]), ("low use", run["cost_per_month"]["low_use"])):
            chart.add_row(name, label, Bar(most, 0, cost or 0.0, width=BAR_COLUMNS), _dollars(cost, 2))
            name = ""
    return chart


def _most(runs: list[dict[str, Any]]) -> float:
    return max(max(each["customer"], each["cost_per_month"]["low_use"] or 0.0) for each in runs) or 1.0


def _print_goals(console: Console, report: dict[str, Any]) -> None:
    month = report["cost_per_month"]
    console.print(f"\nas the plan is now, {month['idle_days']} idle days with {month['storage']}:")
    for name, goal in GOALS.items():
        cost = month[name]
        met = "not known" if cost is None else "met" if cost < goal else "MISSED"
        console.print(f"  {NAMES[name]}: {_dollars(cost, 4)}, goal under ${goal:g}: {met}")
        console.print(f"    {month['how'][name]}")
        others = report["goals_met_by"][name]
        console.print(f"    met with idle days: {', '.join(others) or 'none that were played'}")
    console.print(f"  clusters: {_dollars(month['clusters'], 4)}\n    {month['how']['clusters']}")


def _dollars(cost: float | None, digits: int) -> str:
    return "-" if cost is None else f"{round(cost, digits) + 0.0:.{digits}f}"  # no -0.00
