"""Reports of costs: of the fleet from the daily sums, and of one tenant from its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from shared.application.ports.costs import CostLedger
from shared.application.ports.tenants import TenantRepository
from shared.domain.cost_components import Component
from shared.domain.cost_report import CostReport, Grouping, cost_report
from shared.domain.cost_rollups import ClusterDay
from shared.domain.costs import ZERO, InstanceDay
from shared.domain.slugs import Slug


@dataclass(frozen=True, slots=True)
class TenantCosts:
    """What one instance of a tenant cost on a day or in a month.

    Attributes:
        period: The day, or the month such as 2026-10.
        days: What it cost on each day that is counted, in order.
        is_final: Whether all of its days are final and compared with the tenants, which the next final day is for.
    """

    period: str
    days: Sequence[InstanceDay]
    is_final: bool

    @property
    def last(self) -> InstanceDay:
        """The last day."""
        return self.days[-1]

    @property
    def costs(self) -> dict[Component, Decimal]:
        """The sum of each component."""
        found: dict[Component, Decimal] = {}
        for each in self.days:
            for name, cost in each.costs.items():
                found[name] = found.get(name, ZERO) + cost
        return found


class ReportCosts:
    """Makes the reports of costs."""

    def __init__(self, ledger: CostLedger, tenants: TenantRepository) -> None:
        self._ledger = ledger
        self._tenants = tenants

    async def of_fleet(self, first: date, last: date, by: Grouping) -> CostReport:
        """Report the costs of all tenants from one day to another, both included."""
        clusters = await self._ledger.clusters_between(first, last)
        return cost_report(clusters, await self._ledger.fleet_between(first, last), by)

    async def newest(self, today: date) -> tuple[Sequence[ClusterDay], CostReport]:
        """Return the sums of the clusters on the newest day that is metered, and the report of that day."""
        since = today - timedelta(days=31)
        fleet = (await self._ledger.fleet_between(since, today))[-1:]
        if not fleet:
            return (), cost_report((), (), Grouping.NONE)
        clusters = await self._ledger.clusters_between(fleet[0].day, fleet[0].day)
        return clusters, cost_report(clusters, fleet, Grouping.NONE)

    async def of_tenant(self, slug: Slug, first: date, last: date, *, by_month: bool) -> Sequence[TenantCosts]:
        """Report what each instance of a tenant cost from one day to another, both included, by day or by month.

        Raises NotFound if nothing is counted and there is no such tenant; what a tenant that is gone cost is kept.
        """
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        final = (await self._ledger.last_final()).value
        groups: dict[tuple[str, str], list[InstanceDay]] = {}
        counted = await self._ledger.of_tenant(slug, days)
        if not counted:
            await self._tenants.get(slug)
        for each in counted:
            period = f"{each.day:%Y-%m}" if by_month else each.day.isoformat()
            groups.setdefault((period, each.instance), []).append(each)
        return [
            TenantCosts(period, rows, is_final=final is not None and _end(period, rows, by_month=by_month) < final)
            for (period, _), rows in groups.items()
        ]


def _end(period: str, rows: Sequence[InstanceDay], *, by_month: bool) -> date:
    """Return the last day of a period."""
    first = date.fromisoformat(f"{period}-01" if by_month else period)
    return (first + timedelta(days=31)).replace(day=1) - timedelta(days=1) if by_month else rows[-1].day
