"""The JSON of costs. Amounts are exact, in the currency of the price book, as text with all digits."""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Self

from functions.http.responses import Exact, Moment, ResponseBody
from shared.application.report_costs import TenantCosts
from shared.domain import cost_report
from shared.domain.cost_components import Component
from shared.domain.cost_report import Grouping
from shared.domain.cost_rollups import ClusterDay, OverGoal, Spread, spread_of_all
from shared.settings import CostSettings

HOURS = Decimal("0.001")
CENTS = Decimal("0.01")


class Costs(ResponseBody):
    """A sum of costs, and its components: what tenants use themselves, idle, and overhead."""

    total: Exact
    compute: Exact
    """Cores and memory of nodes, by what is requested, while awake."""
    volume: Exact
    """Disks, awake and asleep."""
    attach: Exact
    """Places for disks on nodes, while awake."""
    database: Exact
    """Always 0: no plan has a database."""
    network: Exact
    """Always 0: what a tenant sends is not known."""
    idle: Exact
    """What nodes cost without a tenant on them."""
    overhead: Exact
    """Control planes, gateways, addresses, logs and berth itself."""

    @classmethod
    def named(cls, costs: dict[Component, Decimal]) -> dict[str, Decimal]:
        """Return the fields of a sum of costs."""
        parts = {each.value: costs.get(each, Decimal(0)) for each in Component}
        return {"total": sum(parts.values(), Decimal(0)), **parts}


class TenantCostLine(Costs):
    """What an instance of a tenant cost on a day or in a month, in UTC."""

    period: str
    """The day such as 2026-10-31, or the month such as 2026-10."""
    instance: str
    plan: str
    """Its plan at the end of the last day, as the cluster."""
    cluster: str
    awake_hours: Exact
    asleep_hours: Exact
    saved: Exact
    """What it would have cost more had it not been asleep."""
    month_to_date: Exact
    """What it has cost since the first of the month of the last day."""
    is_final: bool
    """Whether it will not be computed again: from the second day after it on."""
    unpriced: tuple[str, ...]
    """Prices that the book does not have; what they are for is in no sum."""

    @classmethod
    def of(cls, costs: TenantCosts) -> Self:
        """Return a line as operators see it."""
        last = costs.last
        return cls(
            **cls.named(costs.costs),
            period=costs.period,
            instance=last.instance,
            plan=last.plan,
            cluster=last.cluster,
            awake_hours=_sum(each.own.awake for each in costs.days).quantize(HOURS),
            asleep_hours=_sum(each.own.asleep for each in costs.days).quantize(HOURS),
            saved=_sum(each.own.saved for each in costs.days),
            month_to_date=last.month,
            is_final=costs.is_final,
            unpriced=tuple(sorted({price for each in costs.days for price in each.own.unpriced})),
        )


class TenantCostReport(ResponseBody):
    """What a tenant cost; a present day is in it if the tenant was awake on it or has changed."""

    tenant: str
    currency: str
    first_day: date
    last_day: date
    items: tuple[TenantCostLine, ...]


class CostLine(Costs):
    """What one group cost."""

    group: str
    """The day, the month, the component, the plan, the cluster or the state; `unshared` is what no tenant bears."""
    saved: Exact
    awake_hours: Exact
    """Of all instances together; 0 by component and by state."""
    asleep_hours: Exact

    @classmethod
    def of(cls, group: str, line: cost_report.CostLine) -> Self:
        """Return a line as operators see it."""
        return cls(
            **cls.named(line.costs),
            group=group,
            saved=line.saved,
            awake_hours=line.awake_hours.quantize(HOURS),
            asleep_hours=line.asleep_hours.quantize(HOURS),
        )


class CustomerSpread(ResponseBody):
    """What the customers of a plan, that were there on the last day, have cost since the first of its month."""

    plan: str
    """Empty for all plans together."""
    customers: int
    mean: Exact
    median: Exact | None
    """Null for all plans together, as the next."""
    p95: Exact | None

    @classmethod
    def of(cls, plan: str, spread: Spread, *, is_sum: bool = False) -> Self:
        """Return it as operators see it."""
        median, p95 = (None, None) if is_sum else (_cents(spread.median), _cents(spread.p95))
        return cls(plan=plan, customers=spread.customers, mean=_cents(spread.mean), median=median, p95=p95)


class TenantOverGoal(ResponseBody):
    """A tenant that has cost more since the first of the month than one is to cost in a month."""

    tenant: str
    plan: str
    month_to_date: Exact
    reason: str

    @classmethod
    def of(cls, over: OverGoal) -> Self:
        """Return it as operators see it."""
        month = _cents(over.month)
        reason = (
            f"{_WHY[over.most]}: {over.most} is the largest part of its last day"
            if over.most
            else "it cost more before"
        )
        return cls(
            tenant=over.slug,
            plan=over.plan,
            month_to_date=month,
            reason=reason,
        )


class CostReport(Costs):
    """What the fleet cost in a range of days."""

    currency: str
    first_day: date
    """In UTC, as the last one."""
    last_day: date
    by: Grouping
    metered_until: Moment | None
    """The moment up to which costs are counted. Null if nothing is known of these days."""
    is_complete: bool
    """Whether the last day is counted to its end; otherwise sums are to date."""
    price_book: str
    """The version of the prices of the last day that is counted."""
    unshared: Exact
    """The part of the total that no tenant bears."""
    while_asleep: Exact
    """What tenants cost themselves while they were asleep."""
    saved: Exact
    """What sleep has saved."""
    awake_hours: Exact
    asleep_hours: Exact
    run_rate: Exact
    """What a month of 730 hours costs at the rate of the last day that is counted."""
    goal: Exact
    """What a customer is to cost in a month at most (BERTH_COSTS_GOAL)."""
    former: Exact
    """What one cost on the system before (BERTH_COSTS_FORMER)."""
    run_rate_per_customer: Exact | None
    """What a customer costs in a month of 730 hours at the rate of that day; compare it with `goal` and `former`. Null
    until 12 hours of customers are counted on it, all together."""
    customers: tuple[CustomerSpread, ...]
    over_goal_count: int
    over_goal: tuple[TenantOverGoal, ...]
    """Those of them that cost most, at most 20."""
    unpriced: tuple[str, ...]
    items: tuple[CostLine, ...]

    @classmethod
    def of(
        cls,
        report: cost_report.CostReport,
        first: date,
        last: date,
        by: Grouping,
        *,
        currency: str,
        settings: CostSettings,
    ) -> Self:
        """Return a report as operators see it."""
        newest, whole = report.last, report.whole
        months: Mapping[str, Spread] = newest.months if newest else {}
        all_plans = spread_of_all(months.values())
        return cls(
            **cls.named(whole.costs),
            currency=currency,
            first_day=first,
            last_day=last,
            by=by,
            metered_until=report.until,
            is_complete=newest is not None and newest.is_whole_day and newest.day >= last,
            price_book=newest.price_book if newest else "",
            unshared=_sum(report.unshared.values()),
            while_asleep=report.while_asleep,
            saved=whole.saved,
            awake_hours=whole.awake_hours.quantize(HOURS),
            asleep_hours=whole.asleep_hours.quantize(HOURS),
            run_rate=_cents(report.run_rate),
            goal=Decimal(str(settings.goal)),
            former=Decimal(str(settings.former)),
            run_rate_per_customer=_per_customer(report),
            customers=(
                *(CustomerSpread.of(plan, each) for plan, each in months.items()),
                CustomerSpread.of("", all_plans, is_sum=True),
            ),
            over_goal_count=newest.over_goal_count if newest else 0,
            over_goal=tuple(TenantOverGoal.of(each) for each in (newest.over_goal if newest else ())),
            unpriced=tuple(report.unpriced),
            items=tuple(CostLine.of(name, line) for name, line in report.lines.items()),
        )


class FleetNodes(ResponseBody):
    """Nodes of one machine."""

    machine: str
    """Its name at Azure; empty if the node does not say it."""
    spot: bool
    count: int


class FleetPlan(ResponseBody):
    """The instances of one plan on a cluster."""

    plan: str
    awake: int
    asleep: int
    run_rate: Exact
    """What they cost in a month at the rate of the day."""


class FleetCluster(ResponseBody):
    """A cluster as it was at the last metering."""

    cluster: str
    region: str
    nodes: tuple[FleetNodes, ...]
    plans: tuple[FleetPlan, ...]
    run_rate: Exact
    """What it costs in a month at the rate of the day, with its nodes and its own overhead."""


class FleetReport(ResponseBody):
    """The fleet at the last metering, and what it costs in a month at the rate of that day."""

    currency: str
    metered_until: Moment | None
    awake: int
    asleep: int
    run_rate: Exact
    run_rate_per_customer: Exact | None
    goal: Exact
    former: Exact
    clusters: tuple[FleetCluster, ...]

    @classmethod
    def of(
        cls, clusters: tuple[ClusterDay, ...], report: cost_report.CostReport, *, currency: str, settings: CostSettings
    ) -> Self:
        """Return the fleet as operators see it."""
        plans = [each for cluster in clusters for each in cluster.plans.values()]
        awake, asleep = sum(each.awake for each in plans), sum(each.asleep for each in plans)
        return cls(
            currency=currency,
            metered_until=report.until,
            awake=awake,
            asleep=asleep,
            run_rate=_cents(report.run_rate),
            run_rate_per_customer=_per_customer(report),
            goal=Decimal(str(settings.goal)),
            former=Decimal(str(settings.former)),
            clusters=tuple(_cluster(each) for each in clusters),
        )


_WHY = {
    Component.COMPUTE: "it is awake for long",
    Component.VOLUME: "its disk is large",
    Component.ATTACH: "it is awake for long",
    Component.DATABASE: "its database is large",
    Component.NETWORK: "it sends much",
    Component.IDLE: "its cluster has nodes with few tenants on them",
    Component.OVERHEAD: "few tenants share the overhead",
}


def _cluster(day: ClusterDay) -> FleetCluster:
    plans = [
        FleetPlan(plan=plan, awake=each.awake, asleep=each.asleep, run_rate=_cents(day.a_month(each.total)))
        for plan, each in day.plans.items()
    ]
    nodes = [FleetNodes(machine=each.machine, spot=each.spot, count=each.count) for each in day.seen]
    return FleetCluster(
        cluster=day.cluster,
        region=day.region,
        nodes=tuple(nodes),
        plans=tuple(plans),
        run_rate=_cents(day.a_month(day.total)),
    )


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, Decimal(0))


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENTS)


def _per_customer(report: cost_report.CostReport) -> Decimal | None:
    rate = report.of_last.per_customer
    return None if rate is None else _cents(rate)
