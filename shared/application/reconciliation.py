"""Reconciliation: finds what does not match between the clusters and the records, and repairs it."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from shared.application.admission import Admission
from shared.application.instance_repair import InstanceRepair
from shared.application.lost_instances import LostInstances
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.application.ports.reconciliations import ReconciliationRepository
from shared.application.ports.reservations import ReservationRepository
from shared.application.ports.tenants import TenantFilter, TenantRepository
from shared.application.ports.workflows import Workflows
from shared.domain.clusters import Cluster, ClusterName
from shared.domain.fleet_states import FleetStates
from shared.domain.instances import InstanceId, namespace_name
from shared.domain.lifecycle import TenantState
from shared.domain.plans import Plans
from shared.domain.reconciliation import (
    MAX_REPAIRS,
    ClusterContents,
    Finding,
    FindingKind,
    FindingState,
    RecordedFinding,
    compare,
    first_seen,
    is_settled,
    reservation_problem,
)
from shared.domain.tenants import Tenant
from shared.errors import BerthError, NotFound
from shared.events import log_event
from shared.settings import ReconciliationSettings
from shared.telemetry import metrics
from shared.telemetry.metrics import record

logger = logging.getLogger(__name__)

MAX_SECONDS = 480.0  # of one run; the Functions host ends a function after 600, by host.json
MAX_RECORDED = 1000  # findings of one run
REMOVE_TIMEOUT = 20.0  # seconds
PAGE = 999  # tenants read with one request: a page reads one row more, to know whether it is the last


class Reconciliation:
    """Compares the clusters with the records: a timer's work, once an hour, of one worker at a time."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        reservations: ReservationRepository,
        findings: ReconciliationRepository,
        connections: ClusterConnections,
        admission: Admission,
        lost_instances: LostInstances,
        instance_repair: InstanceRepair,
        plans: Plans,
        clock: Clock,
        settings: ReconciliationSettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._reservations = reservations
        self._findings = findings
        self._connections = connections
        self._admission = admission
        self._lost_instances = lost_instances
        self._instance_repair = instance_repair
        self._plans = plans
        self._clock = clock
        self._settings = settings

    async def run(self, workflows: Workflows) -> None:
        """Record what does not match, and repair it, unless the setting or the number forbids it, within `MAX_SECONDS`.

        A tenant whose namespace is missing fails at the first finding, and one that is at rest gets the pods and the
        route that its state asks for. Orphaned namespaces are removed, and reservations released or changed, if they
        were found an hour before already. A cluster that does not respond is skipped: nothing is said about it.

        It also counts the tenants by state, because it reads all of them.

        What could not be confirmed, or is more than `MAX_RECORDED`, stays as it was recorded. If the time is over
        before all is confirmed, everything does.

        Raises Transient when the tables do not respond; the next run tries again.
        """
        try:
            async with asyncio.timeout(MAX_SECONDS):
                await self._run(workflows)
        except TimeoutError:
            log_event(logger, "reconciliation not finished", level=logging.WARNING, seconds=MAX_SECONDS)

    async def _run(self, workflows: Workflows) -> None:
        now = self._clock.now()
        read = await asyncio.gather(*(self._read(cluster) for cluster in await self._clusters.registered()))
        tenants, states = await self._read_tenants(now)  # after the clusters, see `ClusterContents`
        before = await self._findings.open()
        forgotten = {each.finding.instance for each in before if each.finding.kind is FindingKind.FORGOTTEN}
        found = [each for each in read if isinstance(each, Finding)]
        contents = [each for each in read if isinstance(each, ClusterContents)]
        not_known: list[Finding] = []
        for each in contents:
            confirmed, others = await self._confirm(compare(each, tenants, forgotten, now))
            found += confirmed
            not_known += others
        kinds = Counter(each.kind for each in found)
        for kind in FindingKind:
            record(metrics.FINDINGS, kinds[kind], kind=kind)
        count = len(found) + len(not_known)
        if count > MAX_RECORDED:
            log_event(logger, "not all findings recorded", level=logging.ERROR, count=count)
        not_known += found[MAX_RECORDED:]
        answered = {each.cluster for each in contents}
        unread = {each.finding.cluster for each in before} - answered - {each.cluster for each in found}
        answered |= await self._removed(unread)
        recorded = await self._record(found[:MAX_RECORDED], not_known, before, answered, now)
        await self._findings.save_states(states)
        for each in contents:
            await self._record_lost(each, tenants, found)
        await self._repair_due(recorded, self._excess(found), workflows)
        log_event(logger, "reconciled", clusters=len(read), tenants=len(tenants), findings=len(found))

    async def _read(self, cluster: Cluster) -> ClusterContents | Finding:
        """Return what a cluster has, or that it was skipped and why."""
        cause = f"it does not respond: {cluster.breaker.reason}" if cluster.breaker else ""
        if not cause:
            try:
                connection = await self._connections.connect(cluster.name)
                return ClusterContents(
                    cluster=cluster.name,
                    at=await connection.time(),
                    namespaces=await connection.tenant_namespaces(),
                    workloads=await connection.tenant_workloads(),
                    routes=await connection.tenant_routes() if cluster.gateway else None,
                    volumes=await connection.left_volumes(),
                    reservations=await self._reservations.all(cluster.name),
                )
            except BerthError as error:
                cause = str(error)
        return Finding(FindingKind.SKIPPED, cluster.name, "", f"the cluster {cluster.name} was not compared: {cause}")

    async def _removed(self, names: Iterable[ClusterName]) -> set[ClusterName]:
        """Return which clusters are not registered any more: what was found on them is no matter of berth's."""
        removed: set[ClusterName] = set()
        for name in names:
            try:
                await self._clusters.get(name)
            except NotFound:
                removed.add(name)
            except BerthError as error:
                log_event(logger, "cluster not read", level=logging.WARNING, cluster=name, cause=str(error))
        return removed

    async def _read_tenants(self, now: datetime) -> tuple[Mapping[InstanceId, Tenant], FleetStates]:
        """Return the tenants that have an instance, and how many of all there are in each state."""
        found: dict[InstanceId, Tenant] = {}
        counts: Counter[tuple[ClusterName, TenantState]] = Counter()
        of_plans: Counter[tuple[TenantState, str]] = Counter()
        token = ""
        while True:
            page = await self._tenants.list(TenantFilter(), limit=PAGE, token=token)
            found |= {tenant.instance: tenant for tenant in page.items if tenant.instance}
            counts.update((tenant.cluster, tenant.state) for tenant in page.items)
            of_plans.update((tenant.state, tenant.plan) for tenant in page.items)
            token = page.next_token
            if not token:
                self._record_tenants(of_plans)
                return found, FleetStates.of(counts, now)

    def _record_tenants(self, counts: Mapping[tuple[TenantState, str], int]) -> None:
        # Those of which there are none, too: else a chart never comes down again.
        found = {(state, plan): 0 for state in TenantState for plan in self._plans} | {**counts}
        for (state, plan), count in sorted(found.items()):
            if state is not TenantState.DELETED:
                record(metrics.TENANTS, count, state=state, plan=plan)

    async def _confirm(self, findings: Iterable[Finding]) -> tuple[list[Finding], list[Finding]]:
        """Return those that are confirmed, and those of which that is not known, or that are too many."""
        confirmed: list[Finding] = []
        not_known: list[Finding] = []
        for number, each in enumerate(findings):
            is_confirmed = await self._is_confirmed(each) if number < MAX_RECORDED else None
            if is_confirmed is None:
                not_known.append(each)
            elif is_confirmed:
                confirmed.append(each)
        return confirmed, not_known

    async def _is_confirmed(self, finding: Finding) -> bool | None:
        """Whether the records, and for pods the cluster, say the same at this moment; None if that is not known.

        A row that this version cannot read, which lists skip, says nothing: what it may own stays as it is.
        """
        try:
            return await self._is_still_so(finding, await self._tenant_of(finding))
        except BerthError as error:
            log_event(logger, "finding not confirmed", level=logging.WARNING, text=finding.text, cause=str(error))
            return None

    async def _tenant_of(self, finding: Finding) -> Tenant | None:
        """Return the tenant of the slug that a finding names, as it is at this moment, or None if there is none."""
        try:
            return (await self._tenants.get(finding.slug)).value if finding.slug else None
        except NotFound:
            return None

    async def _is_still_so(self, finding: Finding, tenant: Tenant | None) -> bool:
        owner = tenant if tenant and tenant.instance == finding.instance else None
        match finding.kind:
            case FindingKind.ORPHAN | FindingKind.FORGOTTEN:
                return owner is None and await self._reservations.find(finding.cluster, finding.instance) is None
            case FindingKind.RESERVATION:
                held = await self._reservations.find(finding.cluster, finding.instance)
                if owner is None:
                    return held is not None and not held.state.is_pending  # slot repair takes care of the latter
                return is_settled(owner, self._clock.now()) and bool(reservation_problem(owner, held))
            case FindingKind.MISSING:
                return owner is not None and is_settled(owner, self._clock.now())
            case FindingKind.STOPPED | FindingKind.RUNNING | FindingKind.ROUTE:
                return owner is not None and await self._instance_repair.is_needed(finding.kind, owner)
            case FindingKind.VOLUME | FindingKind.SKIPPED:
                return True

    def _excess(self, found: Sequence[Finding]) -> set[ClusterName]:
        """Return the clusters of which there are too many findings to be true."""
        counts = Counter(each.cluster for each in found if each.kind.is_limited)
        excess = {cluster: count for cluster, count in counts.items() if count > MAX_REPAIRS}
        for cluster, count in excess.items():
            log_event(logger, "nothing repaired: too many findings", level=logging.ERROR, cluster=cluster, count=count)
        return set(excess)

    async def _record(
        self,
        found: Sequence[Finding],
        not_known: Sequence[Finding],
        open_before: Sequence[RecordedFinding],
        answered: set[ClusterName],
        now: datetime,
    ) -> Sequence[RecordedFinding]:
        """Record what was found, and what is gone: from the clusters that were read or removed. Return the former.

        What is about an instance of which something is not known stays as it was recorded.
        """
        before = {_key(each.finding): each for each in open_before}
        recorded: list[RecordedFinding] = []
        for finding in found:
            earlier = before.pop(_key(finding), None)
            if earlier is None:
                fields = {"kind": finding.kind, "cluster": finding.cluster, "text": finding.text}
                log_event(logger, "found", level=logging.WARNING, **fields)
            recorded.append(earlier.seen_again(finding, now) if earlier else first_seen(finding, now))
        stay = {(each.cluster, each.subject) for each in not_known}
        gone = [
            each.ended(FindingState.GONE, now)
            for each in before.values()
            if each.finding.cluster in answered and (each.finding.cluster, each.finding.subject) not in stay
        ]
        await self._findings.save([*recorded, *gone])
        for each in gone:
            if each.finding.kind.is_of_instance:
                await self._show(each)
        return recorded

    async def _record_lost(
        self, contents: ClusterContents, tenants: Mapping[InstanceId, Tenant], found: Sequence[Finding]
    ) -> None:
        """Record the instances of tenants that are missing, or are there again; no second finding is needed."""
        cluster = contents.cluster
        missing = [
            (each.slug, each.instance) for each in found if each.kind is FindingKind.MISSING and each.cluster == cluster
        ]
        back = [
            (tenants[each.instance].slug, each.instance)
            for each in contents.namespaces
            if each.instance in tenants and tenants[each.instance].has_lost_instance
        ]
        try:
            await self._lost_instances.record(cluster, missing)
            await self._lost_instances.find_again(cluster, back)
        except BerthError as error:
            log_event(logger, "not recorded", level=logging.WARNING, cluster=cluster, cause=str(error))

    async def _repair_due(
        self, recorded: Sequence[RecordedFinding], excess: set[ClusterName], workflows: Workflows
    ) -> None:
        """Repair what is due, on all clusters at the same time, and show on its tenant what is not."""
        due: defaultdict[ClusterName, list[RecordedFinding]] = defaultdict(list)
        for each in recorded:
            kind, cluster = each.finding.kind, each.finding.cluster
            allowed = self._settings.repair and not (kind.is_limited and cluster in excess)
            if allowed and each.may_be_repaired(self._clock.now()):
                due[cluster].append(each)
            elif kind.is_of_instance:
                await self._show(each)

        async def repair(several: Sequence[RecordedFinding]) -> None:
            for each in several:
                await self._repair(each, workflows)

        await asyncio.gather(*map(repair, due.values()))

    async def _repair(self, recorded: RecordedFinding, workflows: Workflows) -> None:
        """Repair one finding if it is still so at this moment; what fails is tried by the next run."""
        finding = recorded.finding
        fields = {"kind": finding.kind, "cluster": finding.cluster, "instance": finding.instance}
        try:
            tenant = await self._tenant_of(finding)
            if not await self._is_still_so(finding, tenant):
                return
            if finding.kind in (FindingKind.ORPHAN, FindingKind.FORGOTTEN):
                connection = await self._connections.connect(finding.cluster)
                await connection.remove(namespace_name(finding.instance), timeout=REMOVE_TIMEOUT)
            elif tenant is None or tenant.instance != finding.instance:
                await self._admission.release(finding.cluster, finding.instance, workflows)
            elif finding.kind is FindingKind.RESERVATION:
                await self._admission.settle_reservation(tenant, workflows)
            else:
                await self._instance_repair.repair(finding, tenant)
            await self._findings.save([recorded.ended(FindingState.REPAIRED, self._clock.now())])
            log_event(logger, "repaired", level=logging.WARNING, **fields)
        except BerthError as error:
            log_event(logger, "not repaired", level=logging.WARNING, cause=str(error), **fields)
            if finding.kind.is_of_instance:
                await self._show(recorded)

    async def _show(self, recorded: RecordedFinding) -> None:
        """Show on a tenant that its pods or its route are not as they have to be, or are again."""
        try:
            if recorded.state is FindingState.GONE:
                await self._instance_repair.show_gone(recorded.finding)
            else:
                await self._instance_repair.show(recorded.finding)
        except BerthError as error:
            log_event(logger, "not shown", level=logging.WARNING, text=recorded.finding.text, cause=str(error))


def _key(finding: Finding) -> tuple[FindingKind, ClusterName, str]:
    return finding.kind, finding.cluster, finding.subject
