"""Metering: computes from the transitions what each instance costs, day by day, once an hour.

A day becomes final an hour after its end, and the one before it is computed once more then: so a transition that was
written up to a day late still counts. After an outage, however long, the days that are missing are computed in order.
"""

import logging
from collections.abc import Sequence
from datetime import date, timedelta

from shared.application.meter_day import MeterDay
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.application.ports.costs import CostLedger, Transitions
from shared.application.price_books import PriceBooks
from shared.domain.assets import Assets, SeenNodes
from shared.domain.clusters import Cluster
from shared.domain.costs import day_bounds
from shared.domain.plans import Plans
from shared.domain.prices import PriceBook
from shared.errors import BerthError, Conflict
from shared.events import log_event
from shared.settings import CostSettings

logger = logging.getLogger(__name__)

MAX_SECONDS = 480.0  # of one run; the Functions host ends a function after 600, by host.json
GRACE = timedelta(hours=1)  # after the end of a day, in which what happened on it may still be written
DAY = timedelta(days=1)


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

        Raises Transient when the tables do not respond.
        """
        began, clusters = self._clock.monotonic(), await self._clusters.registered()
        for cluster in clusters:
            await self._see_nodes(cluster)
        book, stored = await self._price_books.current(), await self._ledger.last_final()
        day = await self._transitions.first_day() if stored.value is None else stored.value + DAY
        if day is not None and stored.value is not None and self._is_final(day):
            await self._meter(stored.value, book, clusters, is_final=True)
        while day is not None and self._clock.now() > day_bounds(day)[0]:
            if not self._is_final(day):
                return await self._meter(day, book, clusters, is_final=False)
            await self._meter(day, book, clusters, is_final=True, logs_budgets=True)
            try:
                await self._ledger.save_last_final(stored.with_value(day))
            except Conflict:  # another worker is as far, or further
                return None
            log_event(logger, "metered", day=day.isoformat())
            if self._clock.monotonic() - began >= MAX_SECONDS:
                return log_event(logger, "metering goes on the next time", level=logging.WARNING, day=day.isoformat())
            stored = await self._ledger.last_final()
            day = (stored.value or day) + DAY
        return None

    def _is_final(self, day: date) -> bool:
        return self._clock.now() >= day_bounds(day)[1] + GRACE

    async def _meter(
        self, day: date, book: PriceBook, clusters: Sequence[Cluster], *, is_final: bool, logs_budgets: bool = False
    ) -> None:
        meter = MeterDay(
            ledger=self._ledger,
            transitions=self._transitions,
            assets=self._assets,
            plans=self._plans,
            book=book,
            settings=self._settings,
            regions={each.name: each.region for each in clusters},
            day=day,
            until=min(self._clock.now(), day_bounds(day)[1]),
        )
        await meter.run(is_final=is_final, logs_budgets=logs_budgets)

    async def _see_nodes(self, cluster: Cluster) -> None:
        """Record the nodes of a cluster if they have changed today; one that does not respond keeps those it had."""
        now = self._clock.now()
        try:
            nodes = await (await self._connections.connect(cluster.name)).nodes()
        except BerthError as error:
            log_event(logger, "nodes not seen", level=logging.WARNING, cluster=cluster.name, cause=str(error))
            return
        seen = await self._ledger.seen(cluster.name, day_bounds(now.date())[0], now)
        if not seen or seen[-1].nodes != nodes:
            await self._ledger.see(SeenNodes(cluster.name, now, nodes))
