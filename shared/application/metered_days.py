"""The cost ledger by day, as the bill is compared with it."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from shared.application.ports.costs import CostLedger
from shared.domain.bill_error import LedgerDay, UnsharedAsset
from shared.domain.clusters import NO_CLUSTER
from shared.domain.cost_components import Component


class MeteredDays:
    """Implements `shared.application.ports.bills.LedgerDays`.

    Args:
        ledger: The cost ledger.
        currency: The currency that it is in.
    """

    def __init__(self, ledger: CostLedger, currency: str) -> None:
        self._ledger = ledger
        self._currency = currency

    async def days(self, first: date, last: date, *, currency: str) -> Sequence[LedgerDay]:
        """Return the final days from one to another, both included, if the ledger is in that currency."""
        final = (await self._ledger.last_final()).value
        if final is None or currency != self._currency:
            return []
        last = min(last, final)
        costs: defaultdict[date, dict[Component, Decimal]] = defaultdict(dict)
        unshared: defaultdict[date, list[UnsharedAsset]] = defaultdict(list)
        for cluster in await self._ledger.clusters_between(first, last):
            sums = costs[cluster.day]
            for plan in cluster.plans.values():
                for name, cost in plan.costs.items():
                    sums[name] = sums.get(name, Decimal(0)) + cost
            unshared[cluster.day] += [UnsharedAsset(cluster.cluster, *each) for each in cluster.unshared.items()]
        for fleet in await self._ledger.fleet_between(first, last):
            if fleet.unshared:
                unshared[fleet.day].append(UnsharedAsset(NO_CLUSTER, Component.OVERHEAD, fleet.unshared))
        return [LedgerDay(day, sums, unshared[day]) for day, sums in sorted(costs.items())]
