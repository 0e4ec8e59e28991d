"""All that operators see of one tenant."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.application.admission import Admission
from shared.application.dormancy import Dormancy, DormancyStatus
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.reconciliations import ReconciliationRepository
from shared.application.ports.stored import Page
from shared.application.ports.tenants import TenantRepository
from shared.application.tenant_history import TenantHistory
from shared.domain.operations import Operation
from shared.domain.reconciliation import FindingState, RecordedFinding
from shared.domain.slugs import Slug
from shared.domain.tenants import AuditEntry, Tenant
from shared.domain.timeline import Stay, timeline

TIMELINE = timedelta(days=30)
MAX_OPERATIONS, MAX_CHANGES, MAX_FINDINGS = 10, 50, 10


@dataclass(frozen=True, slots=True)
class Progress:
    """A tenant's present or last operation.

    Attributes:
        at: When it was read.
        tenant: The tenant, with the operation.
        position: Its place in the queue of its cluster, from 1; None if it waits in none.
    """

    at: datetime
    tenant: Tenant
    position: int | None

    @property
    def operation(self) -> Operation:
        """The operation."""
        return self.tenant.operation


@dataclass(frozen=True, slots=True)
class TenantOverview:
    """One tenant.

    Attributes:
        progress: The tenant with its operation.
        status: What is known of its use, its policy, and what follows.
        host: Its address; empty while it has none.
        operations: The last ones, newest first.
        audit: The last changes, newest first.
        stays: In which states it was in the last `TIMELINE`, as far as these changes tell.
        findings: What is found on its cluster that does not match its record.
    """

    progress: Progress
    status: DormancyStatus
    host: str
    operations: Sequence[Operation]
    audit: Page[AuditEntry]
    stays: Sequence[Stay]
    findings: Sequence[RecordedFinding]


class TenantOverviews:
    """Puts together what is known of one tenant; it reads no other tenant."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        findings: ReconciliationRepository,
        dormancy: Dormancy,
        history: TenantHistory,
        admission: Admission,
        clock: Clock,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._findings = findings
        self._dormancy = dormancy
        self._history = history
        self._admission = admission
        self._clock = clock

    async def overview(self, slug: Slug) -> TenantOverview:
        """Return what is known of a tenant; raises NotFound."""
        status = await self._dormancy.status(slug)
        tenant = status.tenant
        progress, operations, audit, clusters, found = await asyncio.gather(
            self._progress(tenant),
            self._history.operations(tenant, limit=MAX_OPERATIONS),
            self._history.audit(slug, limit=MAX_CHANGES, token=""),
            self._clusters.registered(),
            self._findings.list(FindingState.OPEN, limit=MAX_FINDINGS, token="", slug=slug),
        )
        start, now = progress.at - TIMELINE, progress.at
        return TenantOverview(
            progress=progress,
            status=status,
            host=next((each.host(slug) for each in clusters if each.name == tenant.cluster and each.gateway), ""),
            operations=operations,
            audit=audit,
            stays=timeline(audit.items, start=start, now=now, is_whole=not audit.next_token),
            findings=found.items,
        )

    async def progress(self, slug: Slug) -> Progress:
        """Return a tenant with its operation as it stands; raises NotFound."""
        return await self._progress((await self._tenants.get(slug)).value)

    async def _progress(self, tenant: Tenant) -> Progress:
        return Progress(self._clock.now(), tenant, await self._admission.position(tenant.operation))
