"""Reconciliation: finds what is on the clusters and in no record, and the reverse; repairs it at the second finding."""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from shared.application.admission import Admission
from shared.application.lost_instances import LostInstances
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterConnections, ClusterRepository
from shared.application.ports.reconciliations import ReconciliationRepository
from shared.application.ports.reservations import ReservationRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantFilter, TenantRepository
from shared.application.ports.workflows import Workflows
from shared.domain.clusters import Cluster, ClusterName
from shared.domain.instances import InstanceId, namespace_name
from shared.domain.placement import ReservationState
from shared.domain.reconciliation import (
    MAX_REPAIRS,
    ClusterContents,
    Finding,
    FindingKind,
    FindingState,
    RecordedFinding,
    compare,
    first_seen,
    is_asleep,
    is_settled,
)
from shared.domain.tenants import Tenant
from shared.errors import BerthError, NotFound
from shared.events import log_event
from shared.settings import ReconciliationSettings

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
        self._clock = clock
        self._settings = settings

    async def run(self, workflows: Workflows) -> None:
        """Record what does not match, and repair what was found an hour before already, within `MAX_SECONDS`.

        Orphaned namespaces are removed and leaked reservations released, unless the setting or their number forbids
        it. A tenant whose namespace is missing fails at the first finding. All else is only reported. A
        cluster that does not respond is skipped: nothing is said about it.

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
        tenants = await self._tenants_with_instance()  # after the clusters, see `ClusterContents`
        before = await self._findings.open()
        forgotten = {each.finding.instance for each in before if each.finding.kind is FindingKind.FORGOTTEN}
        found: list[Finding] = []
        for each in read:
            if isinstance(each, Finding):
                found.append(each)
            else:
                found += [one for one in compare(each, tenants, forgotten, now) if await self._is_still_so(one)]
        if len(found) > MAX_RECORDED:
            log_event(logger, "not all findings recorded", level=logging.ERROR, count=len(found))
        recorded = await self._record(
            found[:MAX_RECORDED], before, {each.cluster for each in read if isinstance(each, ClusterContents)}, now
        )
        excess = self._excess(found)
        due = [each for each in recorded if each.may_be_repaired(now)]
        for each in due if self._settings.repair else ():
            if not each.finding.kind.is_limited or each.finding.cluster not in excess:
                await self._repair(each, workflows)
        for each in read:
            if isinstance(each, ClusterContents):
                await self._record_lost(each, tenants, found)
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
                    volumes=await connection.left_volumes(),
                    reservations=await self._reservations.all(cluster.name),
                )
            except BerthError as error:
                cause = str(error)
        return Finding(FindingKind.SKIPPED, cluster.name, "", f"the cluster {cluster.name} was not compared: {cause}")

    async def _tenants_with_instance(self) -> Mapping[InstanceId, Tenant]:
        found: dict[InstanceId, Tenant] = {}
        token = ""
        while True:
            page = await self._tenants.list(TenantFilter(), limit=PAGE, token=token)
            found |= {tenant.instance: tenant for tenant in page.items if tenant.instance}
            token = page.next_token
            if not token:
                return found

    async def _is_still_so(self, finding: Finding) -> bool:
        """Whether the records of this moment say the same.

        A row that this version cannot read, which lists skip, says nothing: what it may own stays as it is.
        """
        tenant: Stored[Tenant] | None = None
        try:
            if finding.slug:
                tenant = await self._tenants.get(finding.slug)
        except NotFound:
            pass
        except BerthError as error:
            log_event(logger, "finding not confirmed", level=logging.WARNING, text=finding.text, cause=str(error))
            return False
        owns = tenant is not None and tenant.value.instance == finding.subject
        match finding.kind:
            case FindingKind.ORPHAN | FindingKind.FORGOTTEN:
                return not owns and await self._reservations.find(finding.cluster, finding.instance) is None
            case FindingKind.RESERVATION:
                held = await self._reservations.find(finding.cluster, finding.instance)
                if held is None or held.state.is_pending:  # slot repair takes care of the latter
                    return False
                if tenant is None or not owns:
                    return True
                return held.state is ReservationState.HELD and is_asleep(tenant.value, self._clock.now())
            case FindingKind.MISSING:
                return tenant is not None and owns and is_settled(tenant.value, self._clock.now())
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
        self, found: Sequence[Finding], open_before: Sequence[RecordedFinding], read: set[ClusterName], now: datetime
    ) -> Sequence[RecordedFinding]:
        """Record what was found, and what is gone from the clusters that were read; return the former."""
        before = {_key(each.finding): each for each in open_before}
        recorded: list[RecordedFinding] = []
        for finding in found:
            earlier = before.pop(_key(finding), None)
            if earlier is None:
                fields = {"kind": finding.kind, "cluster": finding.cluster, "text": finding.text}
                log_event(logger, "found", level=logging.WARNING, **fields)
            recorded.append(earlier.seen_again(finding, now) if earlier else first_seen(finding, now))
        gone = [each.ended(FindingState.GONE, now) for each in before.values() if each.finding.cluster in read]
        await self._findings.save([*recorded, *gone])
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

    async def _repair(self, recorded: RecordedFinding, workflows: Workflows) -> None:
        """Repair one finding if it is still so at this moment; what fails is tried by the next run."""
        finding = recorded.finding
        fields = {"kind": finding.kind, "cluster": finding.cluster, "instance": finding.instance}
        try:
            if not await self._is_still_so(finding):
                return
            if finding.kind in (FindingKind.ORPHAN, FindingKind.FORGOTTEN):
                connection = await self._connections.connect(finding.cluster)
                await connection.remove(namespace_name(finding.instance), timeout=REMOVE_TIMEOUT)
            else:
                await self._release(finding, workflows)
            await self._findings.save([recorded.ended(FindingState.REPAIRED, self._clock.now())])
            log_event(logger, "repaired", level=logging.WARNING, **fields)
        except BerthError as error:
            log_event(logger, "not repaired", level=logging.WARNING, cause=str(error), **fields)

    async def _release(self, finding: Finding, workflows: Workflows) -> None:
        """Release a reservation of no tenant, or the share of one that sleeps."""
        with suppress(NotFound):
            tenant = (await self._tenants.get(finding.slug)).value
            if tenant.is_on(finding.cluster, finding.instance):
                await self._admission.put_to_sleep(tenant, workflows)
                return
        await self._admission.release(finding.cluster, finding.instance, workflows)


def _key(finding: Finding) -> tuple[FindingKind, ClusterName, str]:
    return finding.kind, finding.cluster, finding.subject
