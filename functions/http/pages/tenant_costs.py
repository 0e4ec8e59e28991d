"""What one tenant cost, as its page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Self

from functions.http.pages.figures import Figure, Series
from functions.http.pages.text import money
from shared.application.report_costs import TenantCosts
from shared.domain.cost_components import Component
from shared.domain.costs import ZERO
from shared.domain.prices import HOURS_A_MONTH

_COLOURS = {component: f"s{number}" for number, component in enumerate(Component, 1)}
_DIGITS = Decimal("0.0001")  # a day of a tenant that sleeps costs less than a cent


@dataclass(frozen=True, slots=True)
class CostSummary:
    """What a tenant cost.

    Attributes:
        figure: By day and component.
        month: Since the first of this month.
        rate: What a month costs at the rate of the last day; None if nothing is known of it.
        saved: What it would have cost more this month had it not been asleep.
        goal: What it is to cost in a month at most.
    """

    figure: Figure
    month: Decimal
    rate: Decimal | None
    saved: Decimal
    goal: Decimal

    @classmethod
    def of(cls, lines: Sequence[TenantCosts], today: date, *, goal: Decimal, currency: str) -> Self:
        """Return it from a line for each day and instance, in order."""
        this_month = [each for each in lines if each.last.day.replace(day=1) == today.replace(day=1)]
        last = [each.last for each in lines if lines and each.last.day == lines[-1].last.day]
        hours = max((each.own.existed for each in last), default=ZERO)
        return cls(
            figure=_figure(lines, currency),
            month=sum((each.last.total for each in this_month), ZERO),
            rate=sum((each.total for each in last), ZERO) / hours * HOURS_A_MONTH if hours else None,
            saved=sum((each.last.own.saved for each in this_month), ZERO),
            goal=goal,
        )


def _figure(lines: Sequence[TenantCosts], currency: str) -> Figure:
    days: dict[str, dict[Component, Decimal]] = {}
    for line in lines:
        costs = days.setdefault(line.period, {})
        for name, cost in line.costs.items():
            costs[name] = costs.get(name, ZERO) + cost
    used = [each for each in Component if any(each in costs for costs in days.values())]
    rows = [[day, *(f"{costs.get(each, ZERO).quantize(_DIGITS):f}" for each in used)] for day, costs in days.items()]
    total = sum((sum(costs.values(), ZERO) for costs in days.values()), ZERO)
    summary = (
        f"{money(total)} in {len(days)} {'day' if len(days) == 1 else 'days'}."
        if days
        else "Nothing is counted yet: that is done every hour."
    )
    series = [Series(each, _COLOURS[each]) for each in used]
    return Figure("components", f"By day and component, in {currency}", summary, series, rows, stacked=True)
