"""What the charts of the page show: numbers over time, each with a sentence and a table that say the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from markupsafe import Markup

from cli.amounts import digits_for, money
from cli.api import Json
from cli.costs import COMPONENTS
from cli.grid import Grid
from cli.latency import KINDS
from cli.report.charts import Series, day_names, legend, lines, stack
from cli.report.collect import Report
from cli.report.tables import DECISIONS, decisions, sweep_grid

HOURS_A_DAY, HOURS_A_MONTH = 24, 730
AWAKE, ASLEEP, GREY, OTHER = "s3", "s1", "s4", "s5"
COMPONENT_COLOURS: Mapping[str, str] = dict(zip(COMPONENTS, ("s1", "s2", "s3", "s6", "s7", GREY, OTHER), strict=True))
DECISION_COLOURS = ("s1", "s4", "s2", "s5")


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart of the page.

    Attributes:
        id: Its id on the page.
        title: What it shows.
        summary: The same in a sentence with the most important numbers.
        chart: The chart; empty if there is nothing to show.
        legend: What its colours mean.
        grid: Its numbers.
    """

    id: str
    title: str
    summary: str
    chart: Markup
    legend: Sequence[Mapping[str, str]]
    grid: Grid


def figures(report: Report) -> Sequence[Figure]:
    """Return the charts of the page."""
    return [
        per_customer(report.by_day),
        cost(report.by_day),
        awake_and_asleep(report.by_day),
        *latency(report.latency_by_day),
        sweeps(report.sweeps),
    ]


def cost(report: Json) -> Figure:
    """Return what each day cost, by component, and what it would have cost without sleep."""
    title, items = f"Cost by day, in {report['currency']}", report["items"]
    if not items:
        return _nothing("cost", title, "Nothing is counted of these days.")
    used = [name for name in COMPONENTS if any(Decimal(each[name]) for each in items)]
    series = [Series(name, COMPONENT_COLOURS[name], [float(each[name]) for each in items]) for name in used]
    without = [Decimal(each["total"]) + Decimal(each["saved"]) for each in items]
    outline = Series("without sleep", "ink", [float(each) for each in without], "--")
    names = [*used, "total", "without sleep"]
    digits = digits_for(Decimal(each[name]) for each in items for name in used)
    rows = [
        [each["group"], *(money(Decimal(each[name]), digits) for name in (*used, "total")), money(most, digits)]
        for each, most in zip(items, without, strict=True)
    ]
    total, saved = (money(sum((Decimal(each[name]) for each in items), Decimal(0))) for name in ("total", "saved"))
    summary = f"{_from_to(items)}: {total} in all. Sleep has saved {saved}."
    places = day_names([date.fromisoformat(each["group"]) for each in items])
    shown = stack("cost", places, series, outline=outline)
    return Figure("cost", title, summary, shown, legend([*series, outline]), Grid(["day", *names], rows, names))


def per_customer(report: Json) -> Figure:
    """Return what a customer costs in a month at the rate of each day, against the goal and the former system."""
    title = f"Cost of a customer in a month, in {report['currency']}"
    items = [each for each in report["items"] if _hours(each)]
    if not items:
        return _nothing("per-customer", title, "No customer was there on these days.")
    rates = [_a_month(each, Decimal(each["total"])) for each in items]
    awake = [_a_month(each, Decimal(each["total"]) + Decimal(each["saved"])) for each in items]
    goal, former = Decimal(report["goal"]), Decimal(report["former"])
    series = [
        Series("berth", "s1", [float(each) for each in rates]),
        Series("without sleep", OTHER, [float(each) for each in awake], "--"),
        Series(f"goal {money(goal)}", "s2", [float(goal)] * len(items), "--"),
        Series(f"former system {money(former)}", GREY, [float(former)] * len(items), ":"),
    ]
    rows = [
        [each["group"], *(money(amount) for amount in (rate, most, goal, former))]
        for each, rate, most in zip(items, rates, awake, strict=True)
    ]
    names = ["berth", "without sleep", "goal", "former system"]
    verdict = "within" if rates[-1] <= goal else "over"
    summary = (
        f"The cost of each day, divided by the hours for which customers were there, for a month of {HOURS_A_MONTH} "
        f"hours. On {items[-1]['group']} it is {money(rates[-1])}, {verdict} the goal of {money(goal)}; the former "
        f"system cost {money(former)}."
    )
    places = day_names([date.fromisoformat(each["group"]) for each in items])
    shown = lines("per-customer", places, series)
    return Figure("per-customer", title, summary, shown, legend(series), Grid(["day", *names], rows, names))


def awake_and_asleep(report: Json) -> Figure:
    """Return how many tenants were awake and asleep on each day, on average."""
    title, items = "Tenants awake and asleep, on average of each day", report["items"]
    if not any(_hours(each) for each in items):
        return _nothing("awake", title, "No tenant was there on these days.")
    lasted = [_lasted(each["group"], report["metered_until"]) for each in items]
    counts = {
        name: [float(each[f"{name}_hours"]) / day if day else 0.0 for each, day in zip(items, lasted, strict=True)]
        for name in ("awake", "asleep")
    }
    series = [Series("awake", AWAKE, counts["awake"]), Series("asleep", ASLEEP, counts["asleep"])]
    rows = [
        [each["group"], f"{awake:,.1f}", f"{asleep:,.1f}"]
        for each, awake, asleep in zip(items, counts["awake"], counts["asleep"], strict=True)
    ]
    hours = Decimal(report["awake_hours"]) + Decimal(report["asleep_hours"])
    summary = (
        f"{_from_to(items)}: tenants were asleep for {100 * Decimal(report['asleep_hours']) / hours:.0f} % of the time."
    )
    places = day_names([date.fromisoformat(each["group"]) for each in items])
    numbers = ["awake", "asleep"]
    return Figure(
        "awake", title, summary, stack("awake", places, series), legend(series), Grid(["day", *numbers], rows, numbers)
    )


def latency(report: Json) -> Sequence[Figure]:
    """Return how long operations took on each day, a chart for each kind of which there are any."""
    title = "How long operations took, in seconds"
    known = [each for each in report["items"] if each["p95"] is not None]
    if not known:
        return [_nothing("latency", title, "Nothing has succeeded on these days.")]
    return [
        _latency(kind, {date.fromisoformat(each["group"]): each for each in known if each["kind"] == kind})
        for kind in KINDS
        if any(each["kind"] == kind for each in known)
    ]


def _latency(kind: str, of_day: Mapping[date, Json]) -> Figure:
    first, last_day = min(of_day), max(of_day)
    days = [first + timedelta(days=number) for number in range((last_day - first).days + 1)]
    series = [
        Series(name, colour, [of_day[day][name] if day in of_day else None for day in days])
        for name, colour in (("p50", "s1"), ("p95", AWAKE))
    ]
    rows = [
        [day.isoformat(), str(each["succeeded"]), *(f"{each[name]:.2f}" for name in ("p50", "p95", "p99"))]
        for day, each in of_day.items()
    ]
    numbers = ["succeeded", "p50", "p95", "p99"]
    worst = max(of_day.values(), key=lambda each: each["p95"])
    last = of_day[last_day]
    summary = (
        f"On {last['group']}, the last day with one, p50 was {last['p50']:.2f} s and p95 {last['p95']:.2f} s. The "
        f"highest p95 was {worst['p95']:.2f} s, on {worst['group']}."
    )
    name = f"latency-{kind}"
    shown = lines(name, day_names(days), series)
    title = f"{kind.capitalize()}: how long it took, in seconds"
    return Figure(name, title, summary, shown, legend(series), Grid(["day", *numbers], rows, numbers))


def sweeps(found: Sequence[Json]) -> Figure:
    """Return what sweeps decided."""
    title = "Decisions of the sweeps"
    if not found:
        return _nothing("sweeps", title, "No sweep began in these days.")
    counts = [decisions(each) for each in found]
    series = [
        Series(name, colour, [each[name] for each in counts])
        for name, colour in zip(DECISIONS, DECISION_COLOURS, strict=True)
    ]
    asleep, looked = sum(each["hibernated"] for each in found), sum(each["looked_at"] for each in found)
    summary = f"Sweeps decided {looked} times on a tenant, and put {asleep} to sleep."
    places = day_names([date.fromisoformat(each["started_at"][:10]) for each in found])
    return Figure("sweeps", title, summary, stack("sweeps", places, series), legend(series), sweep_grid(found))


def _nothing(name: str, title: str, summary: str) -> Figure:
    return Figure(name, title, summary, Markup(), [], Grid([], []))


def _hours(line: Json) -> Decimal:
    return Decimal(line["awake_hours"]) + Decimal(line["asleep_hours"])


def _a_month(line: Json, amount: Decimal) -> Decimal:
    return amount / _hours(line) * HOURS_A_MONTH


def _lasted(day: str, until: str) -> float:
    """Return how many hours of a day are counted."""
    if day < until[:10]:
        return HOURS_A_DAY
    hour, minute = until[11:16].split(":")
    return int(hour) + int(minute) / 60


def _from_to(items: Sequence[Json]) -> str:
    return f"{items[0]['group']} to {items[-1]['group']}"
