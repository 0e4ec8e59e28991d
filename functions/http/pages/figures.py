"""The charts of the overview: each is a table whose numbers a script draws, with a sentence that says the same."""

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from functions.http.pages.text import money, seconds
from shared.application.ops_overview import COST_DAYS, LATENCY_DAYS, Trends
from shared.domain.cost_report import MIN_CUSTOMER_HOURS
from shared.domain.latency import LatencyKind
from shared.domain.latency_report import Line
from shared.domain.operations import OperationState

DRAWN = (LatencyKind.PROVISION, LatencyKind.WAKE)  # for which people wait
_TITLES = {LatencyKind.PROVISION: "Provisioning", LatencyKind.WAKE: "Waking"}


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: its name, the name of its colour, and whether it is dashed."""

    name: str
    colour: str
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart.

    Attributes:
        id: Its id on the page.
        title: What it shows.
        summary: The same in a sentence.
        series: Its lines, which are the columns of its table but the first.
        rows: A day, and a number for each line, which is empty where there is none.
        stacked: Whether the lines are the parts of a bar for each day.
    """

    id: str
    title: str
    summary: str
    series: Sequence[Series]
    rows: Sequence[Sequence[str]]
    stacked: bool = False


def figures(trends: Trends, *, goal: Decimal, former: Decimal, currency: str) -> Sequence[Figure]:
    """Return the charts; one without a number has no rows."""
    return [cost_figure(trends, goal, former, currency), *(latency_figure(trends, kind) for kind in DRAWN)]


def cost_figure(trends: Trends, goal: Decimal, former: Decimal, currency: str) -> Figure:
    """Return what a customer costs in a month at the rate of each day, against the goal."""
    lines = trends.costs.lines.items()
    rates = {day: line.per_customer for day, line in lines if line.per_customer is not None}
    without = {day: line.per_customer_awake for day, line in lines if line.per_customer_awake is not None}
    summary = f"Nothing is said of a day before {MIN_CUSTOMER_HOURS} hours of customers are counted, all together."
    if rates:
        last = max(rates)
        verdict = "within" if rates[last] <= goal else "over"
        summary = (
            f"At the rate of {last}, a customer costs {money(rates[last])} a month, "
            f"{verdict} the goal of {money(goal)}. The former system cost {money(former)}.{_alone(rates)}"
        )
    series = (Series("berth", "s1"), Series("without sleep", "s5", dashed=True), Series("goal", "s2", dashed=True))
    rows = [[day, money(rates[day]), money(without[day]), money(goal)] for day in sorted(rates)]
    title = f"Cost of a customer in a month, by day, in {currency}"
    return Figure("cost", title, f"{summary} The last {COST_DAYS} days.", series, rows)


def latency_figure(trends: Trends, kind: LatencyKind) -> Figure:
    """Return the percentiles of one kind of operation by day; a day without one that succeeded has no number."""
    lines = [line for line in trends.latency_by_day if line.kind is kind and line.seconds.p50 is not None]
    known = {line.group: line.seconds for line in lines}
    whole = next((line for line in trends.latency if line.kind is kind), None)
    rows = [
        [day, *(seconds(number) for number in ((found.p50, found.p95, found.p99) if found else (None, None, None)))]
        for day, found in ((day, known.get(day)) for day in _days(trends.first_latency_day, LATENCY_DAYS))
    ]
    summary = "None ended in these days."
    if whole is not None:
        total = sum(whole.outcomes.values())
        summary = f"{total} ended, {total - _succeeded(whole)} of them without success."
        if whole.seconds.p95 is not None:
            half, most = seconds(whole.seconds.p50), seconds(whole.seconds.p95)
            summary += f" Half took at most {half} s, 95 % at most {most} s.{_alone(known)}"
    series = (Series("p50", "s2"), Series("p95", "s1"), Series("p99", "s3"))
    title = f"{_TITLES[kind]}, seconds by day"
    return Figure(kind, title, f"{summary} The last {LATENCY_DAYS} days.", series, rows if known else [])


def latency_rows(lines: Iterable[Line]) -> Sequence[Sequence[str]]:
    """Return the cells of a table of all kinds: how many ended, how many did not succeed, and the percentiles."""
    return [
        [
            line.kind,
            str(sum(line.outcomes.values())),
            str(sum(line.outcomes.values()) - _succeeded(line)),
            *(seconds(number) for number in (line.seconds.p50, line.seconds.p95, line.seconds.p99)),
        ]
        for line in lines
    ]


def _alone(days: Sized) -> str:
    """Return what to say of a chart that has a single day: it has points, and no line."""
    return " So far one day is known, so there are points and no lines yet." if len(days) == 1 else ""


def _succeeded(line: Line) -> int:
    return line.outcomes[OperationState.SUCCEEDED]


def _days(first: date, count: int) -> Sequence[str]:
    return [(first + timedelta(days=number)).isoformat() for number in range(count)]
