"""What the overview for operators shows. Nothing here reads more the more tenants there are."""

import asyncio
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.costs import CostLedger
from shared.application.ports.reconciliations import ReconciliationRepository
from shared.application.ports.reservations import ReservationRepository
from shared.application.ports.sweeps import SweepRepository
from shared.application.ports.tenants import OpenOperation, TenantRepository
from shared.application.report_costs import ReportCosts
from shared.application.report_latency import ReportLatency
from shared.application.sweeps import Sweeps
from shared.domain import cost_report, latency_report
from shared.domain.clusters import Cluster, ClusterName
from shared.domain.cost_report import CostReport
from shared.domain.cost_rollups import OverGoal
from shared.domain.fleet_states import FleetStates
from shared.domain.instances import InstanceId
from shared.domain.latency import LatencyKind
from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation
from shared.domain.plans import Plans
from shared.domain.reconciliation import FindingState, RecordedFinding
from shared.domain.slugs import Slug
from shared.domain.sweeps import Sweep, SweepState
from shared.errors import NotFound
from shared.settings import RecoverySettings

MAX_SHOWN = 25  # operations and findings; each operation is read on its own
MAX_SWEEPS, MAX_OVER_GOAL = 10, 5
COST_DAYS, LATENCY_DAYS = 30, 14


@dataclass(frozen=True, slots=True)
class Running:
    """The operations that have not ended.

    Attributes:
        at: When they were read.
        count: How many there are.
        operations: Those that began first, with their steps.
    """

    at: datetime
    count: int
    operations: Sequence[Operation]


@dataclass(frozen=True, slots=True)
class Trends:
    """How long operations took, and what customers cost.

    Attributes:
        first_latency_day: The first day of the latencies.
        latency: By kind, over all of these days.
        latency_by_day: By kind and day.
        rolled_at: When latencies were rolled up last, or None.
        costs: What the fleet cost, by day.
    """

    first_latency_day: date
    latency: Sequence[latency_report.Line]
    latency_by_day: Sequence[latency_report.Line]
    rolled_at: datetime | None
    costs: CostReport


@dataclass(frozen=True, slots=True)
class Attention:
    """What an operator should look at.

    Attributes:
        stuck: Operations that make no progress although they should.
        broken: Clusters whose breaker is open.
        refused: The last sweep that was to act, if it was refused.
        sweeps_are_off: Whether sweeps put nobody to sleep, by the setting or the kill switch.
        findings: What does not match between clusters and records, at most `MAX_SHOWN`.
        more_findings: Whether there are more of them.
        is_counted: Whether clusters were compared with the records, and tenants counted, at all.
        failed: How many tenants had failed when they were counted last.
        over_goal: Customers that have cost most beyond the goal this month, the worst first.
        over_goal_count: How many there are of these in all.
        over_budget: Those of `over_goal` that have passed the budget of their plan, too.
    """

    stuck: Sequence[Operation]
    broken: Sequence[Cluster]
    refused: Sweep | None
    sweeps_are_off: bool
    findings: Sequence[RecordedFinding]
    more_findings: bool
    is_counted: bool
    failed: int
    over_goal: Sequence[OverGoal]
    over_goal_count: int
    over_budget: Set[Slug]

    @property
    def is_needed(self) -> bool:
        """Whether there is anything."""
        listed = (self.stuck, self.broken, self.findings)
        return any(listed) or self.refused is not None or self.sweeps_are_off or self.failed + self.over_goal_count > 0


@dataclass(frozen=True, slots=True)
class Fleet:
    """The clusters, and how many tenants there are; `states` is None until they were counted for the first time."""

    at: datetime
    clusters: Sequence[Cluster]
    states: FleetStates | None

    def elsewhere(self, states: Iterable[TenantState]) -> Sequence[int]:
        """Return how many tenants of each state are on none of the clusters."""
        names = {each.name for each in self.clusters}
        return [self.states.elsewhere(names, state) if self.states else 0 for state in states]


class OpsOverview:
    """Reads it from the sums, roll-ups and indexes that there are anyway."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        reservations: ReservationRepository,
        findings: ReconciliationRepository,
        sweep_records: SweepRepository,
        sweeps: Sweeps,
        ledger: CostLedger,
        costs: ReportCosts,
        latency: ReportLatency,
        plans: Plans,
        clock: Clock,
        settings: RecoverySettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._reservations = reservations
        self._findings = findings
        self._sweep_records = sweep_records
        self._sweeps = sweeps
        self._ledger = ledger
        self._costs = costs
        self._latency = latency
        self._plans = plans
        self._clock = clock
        self._settings = settings

    async def fleet(self) -> Fleet:
        """Return the clusters and the last count of tenants, with a few reads of single rows; raises Transient."""
        clusters, states = await asyncio.gather(self._clusters.list(), self._findings.states())
        return Fleet(self._clock.now(), clusters, states)

    async def sweeps(self) -> Sequence[Sweep]:
        """Return the last sweeps, the newest first; raises Transient."""
        return (await self._sweep_records.list(limit=MAX_SWEEPS, token="")).items

    async def running(self) -> Running:
        """Return the operations that have not ended; raises Transient."""
        opened, now = await self._tenants.open_operations(), self._clock.now()
        # What follows the slug in an id sorts the newest first.
        first = sorted(opened, key=lambda each: each.operation_id.rpartition(".")[2], reverse=True)[:MAX_SHOWN]
        return Running(now, len(opened), await self._read(first))

    async def attention(self) -> Attention:
        """Return what an operator should look at; raises Transient."""
        today = self._clock.now().date()
        fleet, sweeps, enabled, findings, days, opened = await asyncio.gather(
            self.fleet(),
            self.sweeps(),
            self._sweeps.is_enabled(),
            self._findings.list(FindingState.OPEN, limit=MAX_SHOWN, token=""),
            self._ledger.fleet_between(today - timedelta(days=1), today),
            self._tenants.open_operations(),
        )
        last = next((each for each in sweeps if not each.start.dry_run), None)
        over_goal = days[-1].over_goal[:MAX_OVER_GOAL] if days else ()
        return Attention(
            stuck=await self._stuck(opened),
            broken=[each for each in fleet.clusters if each.breaker],
            refused=last if last is not None and last.state is SweepState.REFUSED else None,
            sweeps_are_off=not enabled,
            findings=findings.items,
            more_findings=bool(findings.next_token),
            is_counted=fleet.states is not None,
            failed=fleet.states.of_state(TenantState.FAILED) if fleet.states else 0,
            over_goal=over_goal,
            over_goal_count=days[-1].over_goal_count if days else 0,
            over_budget={each.slug for each in over_goal if self._is_over_budget(each)},
        )

    async def trends(self) -> Trends:
        """Return how long operations took and what customers cost until now; raises Transient."""
        today = self._clock.now().date()
        first = today - timedelta(days=LATENCY_DAYS - 1)
        kinds = tuple(LatencyKind)
        by_day, latency, rolled_at, costs = await asyncio.gather(
            self._latency.lines(kinds, first, today, latency_report.Grouping.DAY),
            self._latency.lines(kinds, first, today, latency_report.Grouping.NONE),
            self._latency.rolled_at(),
            self._costs.of_fleet(today - timedelta(days=COST_DAYS - 1), today, cost_report.Grouping.DAY),
        )
        return Trends(first, latency, by_day, rolled_at, costs)

    def _is_over_budget(self, customer: OverGoal) -> bool:
        budget = self._plans[customer.plan].budget if customer.plan in self._plans else 0
        return budget > 0 and customer.month >= Decimal(str(budget))

    async def _stuck(self, opened: Sequence[OpenOperation]) -> Sequence[Operation]:
        """Return the operations without a heartbeat for longest, but not those that wait for a slot."""
        now = self._clock.now()
        silent = [each for each in opened if each.heartbeat_age(now) >= self._settings.stuck_after]
        waiting = await self._waiting({each.cluster for each in silent if each.cluster})
        # However many wait, they must not take the places of those that are shown.
        stuck = [each for each in silent if each.is_aborting or (each.cluster, each.instance) not in waiting]
        return await self._read(sorted(stuck, key=lambda each: each.heartbeat_at)[:MAX_SHOWN])

    async def _waiting(self, clusters: Collection[ClusterName]) -> Set[tuple[ClusterName, InstanceId]]:
        """Return the instances that wait for a slot, with one read of each cluster's queue."""
        queues = await asyncio.gather(*map(self._reservations.pending, clusters))
        return {
            (cluster, each.instance)
            for cluster, queue in zip(clusters, queues, strict=True)
            for each in queue
            if each.state.is_waiting
        }

    async def _read(self, opened: Sequence[OpenOperation]) -> Sequence[Operation]:
        """Return the operations that are still open and not purged."""
        found = await asyncio.gather(*(self._find(each) for each in opened))
        return [each for each in found if each is not None and each.is_open]

    async def _find(self, opened: OpenOperation) -> Operation | None:
        try:
            return await self._tenants.get_operation(opened.operation_id)
        except NotFound:
            return None
