"""Metering one day: what each instance cost on it, and the sums.

In two passes over all shards. The first adds up what instances pay for themselves, so that idle and overhead are known;
the second shares these out and writes the rows. Both read the same, a page at a time, so that memory does not grow with
the fleet, but for one number for each instance.
"""

import asyncio
import heapq
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from shared.application.metered_instances import MeteredInstance, metered_instances
from shared.application.ports.costs import CostLedger, Transitions
from shared.domain.assets import Assets, SeenNodes
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.cost_rollups import ClusterDay, FleetDay, OverGoal, PlanDay, spread
from shared.domain.cost_shares import Pool, Pools, SharingRules, Totals, TotalsOfClusters, idle_cost, running_totals
from shared.domain.costs import ZERO, InstanceDay, Pricing, day_bounds, last_digit, overhead_cost, price_region
from shared.domain.plans import Plans
from shared.domain.prices import PriceBook, PriceId
from shared.domain.rates import Rate, rates
from shared.events import log_event
from shared.settings import CostSettings

logger = logging.getLogger(__name__)

BATCH = 100  # rows of one transaction
LOOK_BACK = timedelta(days=31)  # for the nodes of a cluster that was not metered the day before
WORST = 20  # instances over the goal that are named


@dataclass(slots=True)
class _Sums:
    """What the second pass adds up, of one shard or of all."""

    plans: dict[tuple[ClusterName, str], PlanDay] = field(default_factory=dict[tuple[ClusterName, str], PlanDay])
    months: dict[str, list[Decimal]] = field(default_factory=dict[str, list[Decimal]])
    over_goal: list[OverGoal] = field(default_factory=list[OverGoal])
    over_goal_count: int = 0
    unpriced: dict[ClusterName, frozenset[PriceId]] = field(default_factory=dict[ClusterName, frozenset[PriceId]])

    def add(self, row: InstanceDay, goal: Decimal) -> None:
        """Count one instance."""
        self.plans.setdefault((row.cluster, row.plan), PlanDay()).add(row)
        self.months.setdefault(row.plan, []).append(row.month)
        self.unpriced[row.cluster] = self.unpriced.get(row.cluster, frozenset()) | row.own.unpriced
        if row.month > goal:
            most = max(row.costs, key=lambda each: row.costs[each])
            self.over_goal_count += 1
            self.over_goal = _worst([*self.over_goal, OverGoal(row.slug, row.plan, row.month, most)])

    def add_all(self, other: "_Sums") -> None:
        """Count the instances of another sum too."""
        for key, each in other.plans.items():
            self.plans.setdefault(key, PlanDay()).add_all(each)
        for plan, months in other.months.items():
            self.months.setdefault(plan, []).extend(months)
        for cluster, unpriced in other.unpriced.items():
            self.unpriced[cluster] = self.unpriced.get(cluster, frozenset()) | unpriced
        self.over_goal = _worst([*self.over_goal, *other.over_goal])
        self.over_goal_count += other.over_goal_count


class MeterDay:
    """Meters one day up to a moment. Again, late, or in two workers, it writes the same rows.

    Args:
        ledger: Where what instances cost is read and written.
        transitions: The log of transitions.
        assets: What costs money besides disks.
        plans: All plans, for the budgets.
        book: The prices.
        settings: How costs are shared out.
        regions: The registered clusters, and where each is.
        day: The day in UTC. The one before must be final, unless nothing was metered before.
        until: The moment, at most the end of the day.
    """

    def __init__(
        self,
        *,
        ledger: CostLedger,
        transitions: Transitions,
        assets: Assets,
        plans: Plans,
        book: PriceBook,
        settings: CostSettings,
        regions: Mapping[ClusterName, str],
        day: date,
        until: datetime,
    ) -> None:
        self._ledger = ledger
        self._transitions = transitions
        self._assets = assets
        self._plans = plans
        self._book = book
        self._settings = settings
        self._rules = SharingRules(settings.share_idle, settings.share_overhead)
        self._regions = regions
        self._day = day
        self._start, _ = day_bounds(day)
        self._until = until
        self._seen: dict[ClusterName, Sequence[SeenNodes]] = {}
        self._rates: dict[ClusterName, Sequence[Rate]] = {}
        self._pricing = Pricing(assets, book, self._rates_of, self._price_region)

    async def run(self, *, is_final: bool, logs_budgets: bool = False) -> None:
        """Meter the day.

        Args:
            is_final: Whether the day is final with that. As long as it is not, only what can have changed is written.
            logs_budgets: Whether a budget that is passed on that day is logged.
        """
        await self._look_up_nodes()
        shards = self._transitions.shards
        *before, totals = running_totals(await asyncio.gather(*map(self._totals, shards)))
        regions = {name: each.region for name, each in totals.items()} | dict(self._regions)
        days = {name: self._cluster_day(name, region, totals) for name, region in regions.items()}
        overhead, unpriced = self._overhead(
            self._settings.price_region or next(iter(regions.values()), ""), of_all=True
        )
        pools = Pools(
            {name: Pool(idle, _weight(totals, name).idle) for name, (_, idle) in days.items()},
            {name: Pool(each.overhead, _weight(totals, name).overhead) for name, (each, _) in days.items()},
            Pool(overhead, sum((each.overhead for each in totals.values()), ZERO)),
        )
        parts = await asyncio.gather(
            *(
                self._write(shard, pools.after(earlier), is_final=is_final, logs_budgets=logs_budgets)
                for shard, earlier in zip(shards, before, strict=True)
            )
        )
        sums = _Sums()
        for part in parts:
            sums.add_all(part)
        clusters = [self._with_plans(each, pools, sums) for each, _ in days.values()]
        fleet = FleetDay(
            day=self._day,
            until=self._until,
            overhead=overhead,
            unshared=pools.of_all.unshared,
            months={plan: spread(months) for plan, months in sorted(sums.months.items())},
            over_goal=sums.over_goal,
            over_goal_count=sums.over_goal_count,
            price_book=self._book.version,
            unpriced=unpriced.union(*(each.unpriced for each in clusters)),
        )
        await self._ledger.write_day(fleet, clusters, is_final=is_final)

    async def _look_up_nodes(self) -> None:
        """Find out which nodes each cluster had on the day: those of the end of the day before, and what was seen."""
        yesterday = self._day - timedelta(days=1)
        before = {each.cluster: each.seen for each in await self._ledger.clusters_between(yesterday, yesterday)}
        for name in {*self._regions, *before}:
            since = self._start if name in before else self._start - LOOK_BACK
            seen = await self._ledger.seen(name, since, self._until)
            self._seen[name] = [*([SeenNodes(name, self._start, before[name])] if before.get(name) else []), *seen]

    def _rates_of(self, cluster: ClusterName, region: str) -> Sequence[Rate]:
        if cluster not in self._rates:
            seen, price_region_ = self._seen.get(cluster, ()), self._price_region(region)
            self._rates[cluster] = rates(seen, self._assets, self._book, price_region_, self._start, self._until)
        return self._rates[cluster]

    def _price_region(self, region: str) -> str:
        return price_region(self._book, region, self._settings.price_region)

    async def _totals(self, shard: str) -> TotalsOfClusters:
        """Return what the instances of a shard pay for themselves and weigh: the first pass."""
        totals: dict[ClusterName, Totals] = {}
        async for each in self._instances(shard):
            own, use = self._pricing.own_cost(each.spans), each.use
            totals[use.cluster] = totals.get(use.cluster, Totals(use.region)).plus(
                own.of_nodes, self._rules.weights(own)
            )
        return totals

    async def _write(self, shard: str, pools: Pools, *, is_final: bool, logs_budgets: bool) -> _Sums:
        """Write the rows of a shard, and return their sums: the second pass."""
        sums, goal, batch = _Sums(), Decimal(str(self._settings.goal)), list[InstanceDay]()
        async for each in self._instances(shard):
            row = self._row(each, pools)
            sums.add(row, goal)
            if each.gap:
                log_event(logger, "ledger gap", level=logging.ERROR, tenant=each.slug, day=self._day.isoformat())
            if logs_budgets:
                self._check_budget(row)
            if is_final or each.changed or row.own.awake:
                batch.append(row)
            if len(batch) == BATCH:
                await self._ledger.write(shard, batch, is_final=is_final)
                batch = []
        if batch:
            await self._ledger.write(shard, batch, is_final=is_final)
        return sums

    def _row(self, each: MeteredInstance, pools: Pools) -> InstanceDay:
        own, use = self._pricing.own_cost(each.spans), each.use
        shares = pools.shares(use.cluster, self._rules.weights(own))
        is_same_month = each.before is not None and each.before.day.month == self._day.month
        earlier = each.before.month if each.before is not None and is_same_month else ZERO
        row = InstanceDay(each.slug, each.instance, self._day, each.closing, use.plan, use.cluster, own, shares)
        return replace(row, month=earlier + row.total)

    def _check_budget(self, row: InstanceDay) -> None:
        """Log that a budget was passed, on the day on which it was."""
        plan = self._plans.get(row.plan)
        if plan is not None and plan.budget and row.month - row.total < Decimal(str(plan.budget)) <= row.month:
            fields = {"tenant": row.slug, "plan": row.plan, "budget": plan.budget, "month": f"{row.month:.2f}"}
            log_event(logger, "budget passed", level=logging.WARNING, **fields)

    def _cluster_day(self, name: ClusterName, region: str, totals: TotalsOfClusters) -> tuple[ClusterDay, Decimal]:
        """Return what a cluster cost, still without its instances, and what of that is idle."""
        cluster_rates = self._rates_of(name, region)
        seen_cost = last_digit(sum((each.nodes * each.hours(self._start, self._until) for each in cluster_rates), ZERO))
        of_nodes = _weight(totals, name).of_nodes
        overhead, unpriced = self._overhead(region, of_all=False)
        day = ClusterDay(
            day=self._day,
            cluster=name,
            region=region,
            until=self._until,
            nodes=max(seen_cost, of_nodes),
            seen=self._seen[name][-1].nodes if self._seen.get(name) else (),
            overhead=overhead,
            unshared={},
            plans={},
            unpriced=unpriced.union(*(each.unpriced for each in cluster_rates)),
        )
        return day, idle_cost(seen_cost, of_nodes)

    def _overhead(self, region: str, *, of_all: bool) -> tuple[Decimal, frozenset[PriceId]]:
        where = self._price_region(region)
        return overhead_cost(self._assets, self._book, where, self._start, self._until, of_all=of_all)

    def _with_plans(self, day: ClusterDay, pools: Pools, sums: _Sums) -> ClusterDay:
        """Return what a cluster cost, with its instances by plan and what of it no tenant bears."""
        unshared = {
            Component.IDLE: pools.idle[day.cluster].unshared,
            Component.OVERHEAD: pools.overhead[day.cluster].unshared,
        }
        return replace(
            day,
            unshared={name: cost for name, cost in unshared.items() if cost},
            plans={plan: each for (cluster, plan), each in sorted(sums.plans.items()) if cluster == day.cluster},
            unpriced=day.unpriced | sums.unpriced.get(day.cluster, frozenset()),
        )

    def _instances(self, shard: str) -> AsyncGenerator[MeteredInstance]:
        return metered_instances(self._ledger, self._transitions, shard, self._day, self._until)


def _weight(totals: TotalsOfClusters, name: ClusterName) -> Totals:
    return totals.get(name, Totals(""))


def _worst(instances: Sequence[OverGoal]) -> list[OverGoal]:
    return heapq.nlargest(WORST, instances, key=lambda each: (each.month, each.slug))
