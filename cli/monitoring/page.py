"""The tables in docs/monitoring.md; what stands around them is written by hand."""

import re
from collections.abc import Callable, Iterable, Mapping

from cli.monitoring.alerts import PRICES_OF, Rule, monthly_price
from cli.monitoring.queries import Query
from cli.monitoring.workbook import Tab

_MARKED = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def monitoring_page(text: str, queries: Mapping[str, Query], rules: Iterable[Rule], tabs: Iterable[Tab]) -> str:
    """Return the page with its tables made anew."""
    rules, tabs = list(rules), list(tabs)
    tables: Mapping[str, Callable[[], str]] = {
        "queries": lambda: _queries(queries, rules, tabs),
        "rules": lambda: _rules(rules),
    }
    return _MARKED.sub(lambda found: f"{found[1]}{tables[found[2]]()}{found[3]}", text)


def _queries(queries: Mapping[str, Query], rules: Iterable[Rule], tabs: Iterable[Tab]) -> str:
    where = {shown.query: tab.title for tab in tabs for shown in tab.queries}
    asked = {rule.query for rule in rules}
    rows = [
        f"| [{each.name}](../infra/monitoring/queries/{each.name}.kql) | {each.question} | {where[each.name]} |\n"
        for each in queries.values()
        if each.name not in asked
    ]
    return "".join(["| query | question | tab |\n|---|---|---|\n", *sorted(rows, key=lambda row: row.split("|")[3])])


def _rules(rules: Iterable[Rule]) -> str:
    rules = list(rules)
    rows = [
        f"| [{each.name}](runbook.md#{each.name}) | {each.title} | {each.severity} | {each.every} | {each.period} |"
        f" {'' if each.threshold is None else each.threshold} | {', '.join(each.split)} | {each.price.amount} |\n"
        for each in rules
    ]
    sources = ", ".join(sorted({each.price.source for each in rules}))
    currency = rules[0].price.currency
    return "".join(
        [
            "| rule | what | severity | every | period | threshold | one for each | a month |\n",
            "|---|---|---|---|---|---|---|---|\n",
            *rows,
            f"\nTogether {monthly_price(rules)} {currency} a month, at the list prices of {PRICES_OF} in"
            f" shared/prices.yaml ({sources}).\n",
        ]
    )
