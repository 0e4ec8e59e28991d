"""`./berth costs`: what the fleet or one tenant cost, from the cost ledger."""

import argparse
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal

from rich.table import Table

from cli.amounts import CENTS, digits_for, money
from cli.api import Json
from cli.grid import Grid
from cli.output import console
from cli.running import connect

COMPONENTS = ("compute", "volume", "attach", "database", "network", "idle", "overhead")
GROUPINGS = ("none", "day", "month", "component", "plan", "cluster", "state")
STEPS = ("day", "month")
SOONER = "On a stack of ./berth up --clock, ./berth clock +1h lets an hour pass"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = "Set BERTH_URL and BERTH_KEY (the host's master key) to use another berth than the running stack."
    parser.add_argument("slug", nargs="?", help="only this tenant, also one that is deleted (default: the fleet)")
    parser.add_argument(
        "--from", metavar="DAY", help="first day in UTC, such as 2026-03-01 (default: that of the last one's month)"
    )
    parser.add_argument("--to", metavar="DAY", help="last day in UTC (default: today)")
    parser.add_argument("--by", choices=GROUPINGS, help="of the fleet: what has a line of its own (default: plan)")
    parser.add_argument("--step", choices=STEPS, help="of a tenant: what has a line of its own (default: day)")
    parser.add_argument("--json", action="store_true", help="print JSON, with all digits")


async def run(options: argparse.Namespace) -> int:
    """Print a report."""
    if options.slug and options.by:
        options.fail("--by goes without a tenant; of one tenant there is --step")
    if options.step and not options.slug:
        options.fail("--step needs a tenant; of the fleet there is --by")
    of_fleet = "reports/costs", {"by": options.by or "plan"}
    of_tenant = f"tenants/{options.slug}/costs", {"step": options.step or "day"}
    path, query = of_tenant if options.slug else of_fleet
    days = {name: getattr(options, name) for name in ("from", "to")}
    async with connect(operator=True) as api:
        report = await api.call("GET", path, **query, **{name: day for name, day in days.items() if day})
    if options.json:
        print(json.dumps(report, indent=2))
        return 0
    out = console()
    if options.slug:
        if report["items"]:
            out.print(_tenant_grid(report, options.step or "day").table, "")
        out.print(_tenant_footer(report))
    else:
        out.print(fleet_grid(report).table, "", facts_table(fleet_facts(report)), sep="\n")
    return 0


def fleet_grid(report: Json) -> Grid:
    """Return what each group cost, and all together."""
    by = report["by"]
    lines: list[Json] = [*report["items"], report | {"group": "all"}]
    first = "" if by == "none" else by
    if by == "component":  # each has only itself: a share tells more than a diagonal of amounts
        shares = [[each["group"], _money(each, "total"), _share(each, report)] for each in lines]
        return Grid([first, "total", "%"], shares, ["total", "%"])
    digits = digits_for(_amounts(lines)) if by == "day" else CENTS
    amounts = ["total", *_components(lines)]
    hours = [] if by == "state" else ["awake h", "asleep h"]  # by state, they would be in several lines
    if hours:
        amounts.append("saved")
    rows = [[each["group"], *_shown(each, amounts, digits), *(_hours(each) if hours else ())] for each in lines]
    return Grid([first, *amounts, *hours], rows, [*amounts, *hours])


def fleet_facts(report: Json) -> Sequence[tuple[str, str]]:
    """Return what the sums of a report of the fleet mean, by name."""
    days = f"{report['first_day']} to {report['last_day']}, in {report['currency']}"
    if report["metered_until"] is None:
        return [("days", f"{days}; nothing is counted of them: costs are computed every hour. {SOONER}")]
    facts = [
        ("days", f"{days}{'' if report['is_complete'] else ', to date'}"),
        ("counted until", report["metered_until"]),
        ("total", f"{_money(report, 'total')}, of which no tenant bears {_money(report, 'unshared')}"),
        ("saved by sleep", f"{_money(report, 'saved')}; what was asleep cost {_money(report, 'while_asleep')}"),
        ("run rate", f"{_money(report, 'run_rate')} a month, by the last day"),
    ]
    if report["run_rate_per_customer"] is not None:
        rate, goal, former = (_money(report, name) for name in ("run_rate_per_customer", "goal", "former"))
        text = f"{rate} a month; the goal is {goal}, the former system cost {former}"
        facts.append(("for each customer", text))
    month = report["metered_until"][:7]
    facts += [(f"{month} to date", _customers(each)) for each in report["customers"]]
    facts.append(("over the goal", f"{report['over_goal_count']} in {month} to date"))
    for each in report["over_goal"]:
        facts.append(("", f"{each['tenant']} ({each['plan']}) {_money(each, 'month_to_date')}: {each['reason']}"))
    if report["unpriced"]:
        facts.append(("without a price", f"{', '.join(report['unpriced'])}; what these are for is in no sum"))
    return facts


def facts_table(facts: Sequence[tuple[str, str]]) -> Table:
    """Return facts for the terminal."""
    table = Table.grid(padding=(0, 2, 0, 1))
    for name, text in facts:
        table.add_row(name, text)
    return table


def _tenant_grid(report: Json, step: str) -> Grid:
    lines: list[Json] = report["items"]
    digits = digits_for(_amounts(lines)) if step == "day" else CENTS
    amounts = ["total", *_components(lines), "saved"]
    rows = [
        [
            *(each["period"], each["plan"], each["cluster"]),
            *_shown(each, amounts, digits),
            *_hours(each),
            *_shown(each, ["month_to_date"], digits),
            "" if each["is_final"] else "not final",
        ]
        for each in lines
    ]
    numbers = [*amounts, "awake h", "asleep h", "month to date"]
    return Grid([step, "plan", "cluster", *numbers, ""], rows, numbers)


def _tenant_footer(report: Json) -> str:
    days = f"{report['tenant']}, {report['first_day']} to {report['last_day']}"
    if not report["items"]:
        when = "Costs are computed every hour, and of a tenant that is asleep when the day is over"
        return f"{days}: nothing is counted. {when}. {SOONER}"
    total = sum((Decimal(each["total"]) for each in report["items"]), Decimal(0))
    saved = sum((Decimal(each["saved"]) for each in report["items"]), Decimal(0))
    text = f"{days}: {money(total)} {report['currency']}; saved by sleep: {money(saved)}"
    unpriced = sorted({price for each in report["items"] for price in each["unpriced"]})
    return f"{text}; without a price and in no sum: {', '.join(unpriced)}" if unpriced else text


def _customers(spread: Json) -> str:
    who = f"{spread['customers']} {spread['plan'] or 'in all'}: mean {_money(spread, 'mean')}"
    if spread["median"] is None:
        return who
    return f"{who}, median {_money(spread, 'median')}, p95 {_money(spread, 'p95')}"


def _components(lines: Iterable[Json]) -> Sequence[str]:
    """Return those that anything is of."""
    found = list(lines)
    return [name for name in COMPONENTS if any(Decimal(each[name]) for each in found)]


def _amounts(lines: Iterable[Json]) -> Iterable[Decimal]:
    return (Decimal(each[name]) for each in lines for name in ("total", *COMPONENTS))


def _shown(line: Json, names: Iterable[str], digits: int) -> Sequence[str]:
    return [money(Decimal(line[name]), digits) for name in names]


def _hours(line: Json) -> Sequence[str]:
    return [f"{Decimal(line[name]):,.1f}" for name in ("awake_hours", "asleep_hours")]


def _share(line: Json, whole: Json) -> str:
    total = Decimal(whole["total"])
    return f"{100 * Decimal(line['total']) / total:.1f}" if total else ""


def _money(report: Json, name: str) -> str:
    return money(Decimal(report[name]))
