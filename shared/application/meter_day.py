"""Metering one day: what each instance cost on it, and the sums.

In two passes over all shards. The first adds up what instances pay for themselves, so that idle and overhead are known;
the second shares these out and writes the rows. Both read the same, a page at a time, so that memory does not grow with
the fleet, but for one number for each customer.
"""

import asyncio
import heapq
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping, Sequence
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
from shared.domain.plans import Plan, Plans
from shared.domain.prices import PriceBook, PriceId
from shared.domain.rates import Rate, rates
from shared.domain.slugs import Slug
from shared.domain.uses import instance_key
from shared.errors import Transient
from shared.events import log_event
from shared.settings import CostSettings

logger = logging.getLogger(__name__)

BATCH = 100  # rows of one transaction
LOOK_BACK = timedelta(days=31)  # for the nodes of a cluster that was not metered the day before
WORST = 20  # customers over the goal that are named


@dataclass(frozen=True, slots=True)
class PassedBudget:
    """A tenant whose month passed the budget of its plan on a day, and what it had cost by the end of that day."""

    slug: Slug
    plan: Plan
    month: Decimal


@dataclass(slots=True)
class _Sums:
    """What the second pass adds up, of one shard or of all."""

    plans: dict[tuple[ClusterName, str], PlanDay] = field(default_factory=dict[tuple[ClusterName, str], PlanDay])
    months: dict[str, list[Decimal]] = field(default_factory=dict[str, list[Decimal]])
    over_goal: list[OverGoal] = field(default_factory=list[OverGoal])
    over_goal_count: int = 0
    passed: list[PassedBudget] = field(default_factory=list[PassedBudget])
    unpriced: dict[ClusterName, frozenset[PriceId]] = field(default_factory=dict[ClusterName, frozenset[PriceId]])

    def add(self, row: InstanceDay) -> None:
        """Count one instance."""
        self.plans.setdefault((row.cluster, row.plan), PlanDay()).add(row)
        self.unpriced[row.cluster] = self.unpriced.get(row.cluster, frozenset()) | row.own.unpriced

    def add_customer(self, rows: Sequence[InstanceDay], goal: Decimal) -> None:
        """Count a customer with all instances that it had in the month, if it has one at the end of the day."""
        last = next((each for each in rows if each.use is not None), None)
        if last is None:
            return
        month = sum((each.month for each in rows), ZERO)
        self.months.setdefault(last.plan, []).append(month)
        if month > goal:
            most = max(last.costs, key=lambda each: last.costs[each], default=None)
            self.over_goal_count += 1
            self.over_goal = _worst([*self.over_goal, OverGoal(last.slug, last.plan, month, most)])

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
        self.passed += other.passed


@dataclass(frozen=True, slots=True)
class MeteredDay:
    """What a day cost: the sums that were written, and which tenants passed their plan's budget on it."""

    fleet: FleetDay
    clusters: Sequence[ClusterDay]
    passed: Sequence[PassedBudget]


class MeterDay:
    """Meters one day up to a moment. Again, late, or in two workers, it writes the same rows.

    Args:
        ledger: Where what instances cost is read and written.
        transitions: The log of transitions.
        assets: What costs money besides disks.
        plans: All plans, for the budgets.
        book: The prices.
        settings: How costs are shared out.
        registered: The registered clusters, and where each is.
        day: The day in UTC. The one before must be final, unless nothing was metered before.
        until: The moment, at most the end of the day.
        ensure_in_time: Raises Transient if the run has taken too long to write anything any more.
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
        registered: Mapping[ClusterName, str],
        day: date,
        until: datetime,
        ensure_in_time: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._transitions = transitions
        self._assets = assets
        self._plans = plans
        self._book = book
        self._settings = settings
        self._rules = SharingRules(settings.share_idle, settings.share_overhead)
        self._registered = registered
        self._day = day
        self._start, _ = day_bounds(day)
        self._until = until
        self._ensure_in_time = ensure_in_time
        self._seen: dict[ClusterName, Sequence[SeenNodes]] = {}
        self._since: dict[ClusterName, datetime] = {}
        self._regions = registered
        self._is_first_day = False
        self._rates: dict[ClusterName, Sequence[Rate]] = {}
        self._pricing = Pricing(assets, book, self._rates_of, self._price_region)

    async def run(self, *, is_final: bool) -> MeteredDay:
        """Meter the day, and return what it cost.

        Args:
            is_final: Whether the day is final with that. As long as it is not, only what can have changed is written.

        Raises:
            Transient: Something cannot be read or written now, or something has changed meanwhile.
        """
        await self._look_up_nodes()
        shards = self._transitions.shards
        *before, totals = running_totals(await _together(map(self._totals, shards)))
        days = {name: self._cluster_day(name, region, totals) for name, region in self._clusters(totals).items()}
        overhead, unpriced = self._overhead_of_all(days.values())
        pools = Pools(
            {name: Pool(idle, _weight(totals, name).idle) for name, (_, idle) in days.items()},
            {name: Pool(each.overhead, _weight(totals, name).overhead) for name, (each, _) in days.items()},
            Pool(overhead, sum((each.overhead for each in totals.values()), ZERO)),
        )
        parts = await _together(
            self._write(shard, pools.after(earlier), is_final=is_final)
            for shard, earlier in zip(shards, before, strict=True)
        )
        if running_totals(again for _, again in parts)[-1] != totals:
            raise Transient("a transition was written while its day was metered; it is metered again the next time")
        sums = _Sums()
        for part, _ in parts:
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
        self._ensure_in_time()
        await self._ledger.write_day(fleet, clusters, is_final=is_final)
        return MeteredDay(fleet, clusters, sums.passed)

    async def _look_up_nodes(self) -> None:
        """Find out which nodes each cluster had on the day, and since when it was there.

        Its nodes are those of the end of the day before, and those that were seen since. Each run sees those of all
        registered clusters, also of one without nodes: so that is when a new one begins.
        """
        yesterday = self._day - timedelta(days=1)
        metered = await self._ledger.clusters_between(yesterday, self._day)  # the day itself, if it was metered before
        before = {each.cluster: each for each in metered if each.day == yesterday}
        self._is_first_day = not before
        # A cluster that is removed by now still cost what it did until the end of the day of its removal.
        self._regions = {**{each.cluster: each.region for each in metered}, **self._registered}
        for name in self._regions:
            # Where the day before was metered, what was seen earlier is of a cluster that was removed since.
            since = self._start - LOOK_BACK if self._is_first_day else self._start
            seen = await self._ledger.seen(name, since, self._until)
            if name in before and (name in self._registered or seen):
                self._since[name] = self._start
                seen = [*([SeenNodes(name, self._start, before[name].seen)] if before[name].seen else []), *seen]
            elif seen:
                self._since[name] = max(seen[0].at, self._start)
            self._seen[name] = seen

    def _clusters(self, totals: TotalsOfClusters) -> Mapping[ClusterName, str]:
        """Return the clusters of the day, and where each is: those with an instance, and those that were there."""
        regions = {name: each.region for name, each in totals.items()}
        return regions | {name: self._regions[name] for name in self._since if name in self._regions}

    def _rates_of(self, cluster: ClusterName, region: str) -> Sequence[Rate]:
        if cluster not in self._rates:
            seen, where = self._seen.get(cluster, ()), self._price_region(region)
            self._rates[cluster] = rates(seen, self._assets, self._book, where, self._start, self._until)
        return self._rates[cluster]

    def _price_region(self, region: str) -> str:
        return price_region(self._book, region, self._settings.price_region)

    async def _totals(self, shard: str) -> TotalsOfClusters:
        """Return what the instances of a shard pay for themselves and weigh: the first pass."""
        totals: dict[ClusterName, Totals] = {}
        async for each in self._instances(shard):
            self._count(each, totals)
        return totals

    def _count(self, each: MeteredInstance, totals: dict[ClusterName, Totals]) -> None:
        if each.spans:
            own, use = self._pricing.own_cost(each.spans), each.spans[-1].use
            self._since[use.cluster] = min(self._since.get(use.cluster, self._until), each.spans[0].start)
            known = totals.get(use.cluster, Totals(use.region))
            totals[use.cluster] = known.plus(own.of_nodes, self._rules.weights(own))

    async def _write(self, shard: str, pools: Pools, *, is_final: bool) -> tuple[_Sums, TotalsOfClusters]:
        """Write the rows of a shard, and return their sums, and what the first pass adds up: the second pass."""
        sums, totals, goal = _Sums(), dict[ClusterName, Totals](), Decimal(str(self._settings.goal))
        batch, customer = list[InstanceDay](), list[InstanceDay]()
        left = (
            await self._ledger.keys_of(shard, self._day) if is_final else set[str]()
        )  # none, unless for the second time
        async for each in self._instances(shard):
            self._count(each, totals)
            row = self._row(each, pools)
            sums.add(row)
            left.discard(instance_key(row.slug, row.instance))
            if customer and customer[0].slug != row.slug:  # those of one slug are next to each other
                self._end_customer(customer, sums, goal)
                customer = []
            customer.append(row)
            if each.gap:
                log_event(logger, "ledger gap", level=logging.ERROR, tenant=each.slug, day=self._day.isoformat())
            if is_final or each.changed or row.own.awake:
                batch.append(row)
            if len(batch) == BATCH:
                await self._write_rows(shard, batch, is_final=is_final)
                batch = []
        if customer:
            self._end_customer(customer, sums, goal)
        if batch:
            await self._write_rows(shard, batch, is_final=is_final)
        if left:
            self._ensure_in_time()
            await self._ledger.delete(shard, self._day, sorted(left))
        return sums, totals

    async def _write_rows(self, shard: str, rows: Sequence[InstanceDay], *, is_final: bool) -> None:
        self._ensure_in_time()
        await self._ledger.write(shard, rows, is_final=is_final)

    def _row(self, each: MeteredInstance, pools: Pools) -> InstanceDay:
        own = self._pricing.own_cost(each.spans)
        is_same_month = each.before is not None and each.before.day.month == self._day.month  # that of the day before
        row = InstanceDay(
            slug=each.slug,
            instance=each.instance,
            day=self._day,
            use=each.closing,
            plan=each.plan,
            cluster=each.cluster,
            sequence=each.sequence,
            own=own,
            shares=pools.shares(each.cluster, self._rules.weights(own)),
        )
        earlier = each.before.month if each.before is not None and is_same_month else ZERO
        return replace(row, month=earlier + row.total)

    def _end_customer(self, rows: Sequence[InstanceDay], sums: _Sums, goal: Decimal) -> None:
        """Count a customer, and whether it passed its budget on the day."""
        sums.add_customer(rows, goal)
        plan = self._plans.get(rows[-1].plan)
        if plan is None or not plan.budget:
            return
        month, today = sum((each.month for each in rows), ZERO), sum((each.total for each in rows), ZERO)
        if month - today < Decimal(str(plan.budget)) <= month:
            sums.passed.append(PassedBudget(rows[-1].slug, plan, month))

    def _cluster_day(self, name: ClusterName, region: str, totals: TotalsOfClusters) -> tuple[ClusterDay, Decimal]:
        """Return what a cluster cost, still without its instances, and what of that is idle."""
        cluster_rates = self._rates_of(name, region)
        seen_cost = last_digit(sum((each.nodes * each.hours(self._start, self._until) for each in cluster_rates), ZERO))
        of_nodes = _weight(totals, name).of_nodes
        since, where = self._since[name], self._price_region(region)
        overhead, unpriced = overhead_cost(self._assets, self._book, where, since, self._until, of_all=False)
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

    def _overhead_of_all(self, days: Iterable[tuple[ClusterDay, Decimal]]) -> tuple[Decimal, frozenset[PriceId]]:
        """Return what the overhead of all together costs: in the region that is set, or that of the first cluster."""
        first = min((each.cluster, each.region) for each, _ in days) if days else ("", "")
        where = self._settings.price_region or self._price_region(first[1])
        since = min(self._since.values(), default=self._until) if self._is_first_day else self._start
        return overhead_cost(self._assets, self._book, where, since, self._until, of_all=True)

    def _with_plans(self, day: ClusterDay, pools: Pools, sums: _Sums) -> ClusterDay:
        """Return what a cluster cost, with its instances by plan and what of it no tenant bears."""
        unshared = {
            Component.IDLE: pools.idle[day.cluster].unshared,
            Component.OVERHEAD: pools.overhead[day.cluster].unshared,
        }
        plans = {plan: each for (cluster, plan), each in sorted(sums.plans.items()) if cluster == day.cluster}
        return replace(
            day,
            unshared={name: cost for name, cost in unshared.items() if cost},
            plans={plan: each for plan, each in plans.items() if each.instances},
            unpriced=day.unpriced | sums.unpriced.get(day.cluster, frozenset()),
        )

    def _instances(self, shard: str) -> AsyncGenerator[MeteredInstance]:
        return metered_instances(self._ledger, self._transitions, shard, self._day, self._until)


async def _together[T](work: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """Return the results of work that is done at the same time; when one fails, nothing of it goes on."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _weight(totals: TotalsOfClusters, name: ClusterName) -> Totals:
    return totals.get(name, Totals(""))


def _worst(customers: Sequence[OverGoal]) -> list[OverGoal]:
    return heapq.nlargest(WORST, customers, key=lambda each: (each.month, each.slug))
