"""What a report is made of: the answers of berth's API."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from cli.api import Api, Json

USUAL_DAYS = 30


@dataclass(frozen=True, slots=True)
class Report:
    """The answers of berth's API about the same days.

    Attributes:
        fleet: The fleet at the last metering.
        by_component: Costs by component.
        by_plan: Costs by plan.
        by_day: Costs by day.
        latency: How long operations took, by kind.
        latency_by_day: The same by kind and day.
        sweeps: Those that began in these days and were no dry run, the oldest first.
    """

    fleet: Json
    by_component: Json
    by_plan: Json
    by_day: Json
    latency: Json
    latency_by_day: Json
    sweeps: Sequence[Json]


async def collect(api: Api, first: str | None, last: str | None) -> Report:
    """Ask for everything.

    Args:
        api: Where to ask, with the master key.
        first: The first day; by default 29 days before the last one.
        last: The last day; by default today, by the clock of the app.
    """
    to: Json = {"to": last} if last else {}
    if first is None:
        today = date.fromisoformat((await api.call("GET", "reports/costs", **to))["last_day"])
        first = (today - timedelta(days=USUAL_DAYS - 1)).isoformat()
    days: Json = {"from": first, **to}
    by_day = await api.call("GET", "reports/costs", by="day", **days)
    days["to"] = by_day["last_day"]  # else the last answers would be of another day when midnight passes
    sweeps = await api.all("sweeps")
    return Report(
        fleet=await api.call("GET", "reports/fleet"),
        by_component=await api.call("GET", "reports/costs", by="component", **days),
        by_plan=await api.call("GET", "reports/costs", by="plan", **days),
        by_day=by_day,
        latency=await api.call("GET", "reports/latency", **days),
        latency_by_day=await api.call("GET", "reports/latency", by="day", **days),
        sweeps=[each for each in reversed(sweeps) if not each["dry_run"] and _is_within(each["started_at"], days)],
    )


def _is_within(moment: str, days: Json) -> bool:
    return days["from"] <= moment[:10] <= days["to"]
