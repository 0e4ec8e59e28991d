"""The page of a report: one file with charts and tables that needs no network."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from cli.amounts import money
from cli.costs import fleet_facts
from cli.report.charts import SERIES
from cli.report.collect import Report
from cli.report.figures import figures
from cli.report.tables import all_tables

_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def page(report: Report) -> str:
    """Return the page as HTML; all text from data is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        first=report.by_day["first_day"],
        last=report.by_day["last_day"],
        until=_moment(report.by_day["metered_until"]),
        rolled_at=_moment(report.latency["rolled_at"]),
        numbers=_numbers(report),
        figures=figures(report),
        facts=fleet_facts(report.by_plan),
        tables=all_tables(report),
        series=SERIES,
    )


def _numbers(report: Report) -> Sequence[tuple[str, str, str]]:
    """Return what a reader wants to know first: a name, a number, and what to know of it."""
    fleet, costs = report.fleet, report.by_plan
    rate, per_customer = money(Decimal(fleet["run_rate"])), fleet["run_rate_per_customer"]
    against = f"goal {money(Decimal(fleet['goal']))}, former system {money(Decimal(fleet['former']))}"
    found = [
        ("Tenants", str(fleet["awake"] + fleet["asleep"]), f"{fleet['awake']} awake, {fleet['asleep']} asleep"),
        ("Run rate", rate, f"{fleet['currency']} a month"),
        ("For each customer", "none" if per_customer is None else money(Decimal(per_customer)), against),
        ("Saved by sleep", money(Decimal(costs["saved"])), f"{costs['currency']} in these days"),
    ]
    for each in report.latency["items"]:
        if each["kind"] in ("provision", "wake") and each["p95"] is not None:
            text = f"seconds at p95; {each['succeeded']} succeeded, {each['failures']} failed"
            found.append((each["kind"].capitalize(), f"{each['p95']:.2f}", text))
    return found


def _moment(moment: str | None) -> str:
    return "now, and there is nothing yet" if moment is None else moment[:16].replace("T", " ")
