"""Metering: computes from the transitions what each instance costs, day by day, once an hour.

A day becomes final an hour after its end. Before the next one does, the ledger is compared with the tenants; if it has
missed a transition, that was written later, the days since then are computed again. After an outage, however long, the
days that are missing are computed in order. The time is that of the tables: a worker's clock can be wrong.
"""

import asyncio
import logging
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from shared.application.ledger_audit import first_wrong_day
from shared.application.meter_day import MeterDay, MeteredDay, PassedBudget
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.application.ports.costs import CostLedger, Transitions
from shared.application.ports.stored import Stored
from shared.application.price_books import PriceBooks
from shared.domain.assets import Assets, SeenNodes
from shared.domain.clusters import Cluster
from shared.domain.cost_components import Component
from shared.domain.cost_report import Grouping, cost_report
from shared.domain.costs import ZERO, day_bounds
from shared.domain.plans import Plans
from shared.errors import BerthError, Conflict, Transient
from shared.events import log_event
from shared.settings import CostSettings
from shared.telemetry import metrics
from shared.telemetry.metrics import record

logger = logging.getLogger(__name__)

MAX_SECONDS = 480.0  # after which no other day is begun; the Functions host ends a function after 600, by host.json
LAST_WRITE_SECONDS = 570.0  # after which nothing is written: who was held up for so long may be late
GRACE = timedelta(hours=1)  # after the end of a day, in which what happened on it may still be written
MARGIN = timedelta(minutes=2)  # before now, for the same reason
DAY = timedelta(days=1)
MAX_LAG = timedelta(days=31)  # up to which the newest day that is computed is looked for
AT_ONCE = 8  # clusters that are asked for their nodes


class Metering:
    """Keeps the cost ledger up to date. It may break off anywhere, and run in two workers."""

    def __init__(
        self,
        *,
        ledger: CostLedger,
        transitions: Transitions,
        clusters: ClusterRepository,
        connections: ClusterConnections,
        price_books: PriceBooks,
        assets: Assets,
        plans: Plans,
        clock: Clock,
        settings: CostSettings,
    ) -> None:
        self._ledger = ledger
        self._transitions = transitions
        self._clusters = clusters
        self._connections = connections
        self._price_books = price_books
        self._assets = assets
        self._plans = plans
        self._clock = clock
        self._settings = settings

    async def run(self) -> None:
        """Record the nodes of the clusters, and meter all days that are not final, for about `MAX_SECONDS`.

        Raises Transient when the tables do not respond, or hold a row of another version of berth.
        """
        began, now = self._clock.monotonic(), await self._ledger.time()
        try:
            await self._meter_days(began, now)
        finally:
            await self._record_lag(now)

    async def _meter_days(self, began: float, now: datetime) -> None:
        clusters = await self._clusters.registered()
        await self._see_all(clusters, now)
        stored = await self._last_final(now)
        if stored.value is not None and _is_final(stored.value + DAY, now):
            stored = await self._corrected(stored, stored.value)
        day = await self._transitions.first_day() if stored.value is None else stored.value + DAY
        while day is not None and _is_final(day, now):
            metered = await self._meter(day, clusters, now, began, is_final=True)
            try:
                await self._ledger.save_last_final(stored.with_value(day))
            except Conflict:  # another worker is as far, or further
                return
            _tell_of_budgets(day, metered.passed)
            log_event(logger, "metered", day=day.isoformat())
            if self._clock.monotonic() - began >= MAX_SECONDS:
                log_event(logger, "metering goes on the next time", level=logging.WARNING, day=day.isoformat())
                return
            stored = await self._ledger.last_final()
            day = (stored.value or day) + DAY
        if day is not None and now - MARGIN > day_bounds(day)[0]:
            self._record(await self._meter(day, clusters, now, began, is_final=False))

    async def _record_lag(self, now: datetime) -> None:
        days = await self._ledger.fleet_between(now.date() - MAX_LAG, now.date())
        first = None if days else await self._transitions.first_day()
        until = days[-1].until if days else day_bounds(first)[0] if first is not None else now
        record(metrics.LEDGER_LAG, max(0.0, (now - until).total_seconds()))

    def _record(self, metered: MeteredDay) -> None:
        """Record what the day so far has cost, also what is nothing: else a chart never comes down again."""
        report = cost_report(metered.clusters, [metered.fleet], Grouping.COMPONENT)
        for component in Component:
            line = report.lines.get(component)
            record(metrics.COST, float(line.total) if line else 0.0, component=component)
        record(metrics.RUN_RATE, float(report.run_rate))
        record(metrics.SAVINGS, float(report.whole.saved))
        awake_hours = dict.fromkeys(self._plans, ZERO)
        for cluster in metered.clusters:
            for plan, sums in cluster.plans.items():
                awake_hours[plan] = awake_hours.get(plan, ZERO) + sums.awake_hours
        for plan, hours in awake_hours.items():
            record(metrics.AWAKE_HOURS, float(hours), plan=plan)

    async def _last_final(self, now: datetime) -> Stored[date | None]:
        """Return the last final day; one that is to come was written by an error, and does not count."""
        stored = await self._ledger.last_final()
        if stored.value is None or stored.value < now.date():
            return stored
        log_event(logger, "a day was final before it was over", level=logging.ERROR, day=stored.value.isoformat())
        return await self._back_to(stored, now.date() - 2 * DAY)

    async def _corrected(self, stored: Stored[date | None], day: date) -> Stored[date | None]:
        """Return the last final day up to which the ledger has counted all transitions."""
        wrong = await first_wrong_day(self._ledger, self._transitions, day)
        if wrong is None:
            return stored
        log_event(logger, "a transition came late", level=logging.WARNING, day=wrong.isoformat())
        return await self._back_to(stored, wrong - DAY)

    async def _back_to(self, stored: Stored[date | None], day: date) -> Stored[date | None]:
        await self._ledger.save_last_final(stored.with_value(day))
        return await self._ledger.last_final()

    async def _meter(
        self, day: date, clusters: Sequence[Cluster], now: datetime, began: float, *, is_final: bool
    ) -> MeteredDay:
        started = self._clock.now()

        def ensure_in_time() -> None:
            # By both clocks: one of them stands still while a machine does, the other can be set.
            seconds = max(self._clock.monotonic() - began, (self._clock.now() - started).total_seconds())
            if seconds > LAST_WRITE_SECONDS:
                raise Transient("metering took too long; it goes on the next time")

        meter = MeterDay(
            ledger=self._ledger,
            transitions=self._transitions,
            assets=self._assets,
            plans=self._plans,
            book=await self._price_books.current(),
            settings=self._settings,
            registered={each.name: each.region for each in clusters},
            day=day,
            until=day_bounds(day)[1] if is_final else min(now - MARGIN, day_bounds(day)[1]),
            ensure_in_time=ensure_in_time,
        )
        return await meter.run(is_final=is_final)

    async def _see_all(self, clusters: Sequence[Cluster], now: datetime) -> None:
        """Record the nodes of all clusters, each unless they are those that were seen last today."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def see(cluster: Cluster) -> None:
            async with limit:
                await self._see_nodes(cluster, now)

        await asyncio.gather(*map(see, clusters))

    async def _see_nodes(self, cluster: Cluster, now: datetime) -> None:
        """Record the nodes of a cluster; one that does not respond keeps those that it had."""
        try:
            nodes = await (await self._connections.connect(cluster.name)).nodes()
        except BerthError as error:
            log_event(logger, "nodes not seen", level=logging.WARNING, cluster=cluster.name, cause=str(error))
            return
        seen = await self._ledger.seen(cluster.name, day_bounds(now.date())[0], now + DAY)
        if not seen or list(seen[-1].nodes) != list(nodes):
            await self._ledger.see(SeenNodes(cluster.name, now, nodes))


def _tell_of_budgets(day: date, passed: Sequence[PassedBudget]) -> None:
    """Log and count who passed a budget on a day that is final now; a day may be computed again until then."""
    for each in passed:
        log_event(
            logger,
            "budget passed",
            level=logging.WARNING,
            tenant=each.slug,
            plan=each.plan.name,
            budget=each.plan.budget,
            month=f"{each.month:.2f}",
            day=day.isoformat(),
        )
        record(metrics.BUDGET_PASSED, plan=each.plan.name)


def _is_final(day: date, now: datetime) -> bool:
    return now >= day_bounds(day)[1] + GRACE
