"""What a caller may ask for: sign up, delete. Each becomes an operation, written down before any work starts."""

from dataclasses import dataclass
from datetime import timedelta

from shared.application.ports import ClusterRecords, Stored, TenantRecords, Workflows
from shared.clock import Clock
from shared.domain.operations import Operation, OperationKind, new_operation
from shared.domain.tenants import AuditEntry, Tenant, TenantState
from shared.errors import Conflict, Invalid, NotFound
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class SignupRequest:
    """A valid request for a new tenant; `version` is empty for the default one."""

    slug: str
    plan: str
    region: str
    email: str
    display_name: str
    version: str = ""


class TenantLifecycle:
    """Takes requests for changes of tenants."""

    def __init__(self, records: TenantRecords, clusters: ClusterRecords, clock: Clock, settings: Settings) -> None:
        self._records = records
        self._clusters = clusters
        self._clock = clock
        self._settings = settings

    async def sign_up(self, request: SignupRequest, actor: str, workflows: Workflows) -> Operation:
        """Take a slug and start to provision its tenant.

        Raises:
            Invalid: No cluster is registered for the region.
            Conflict: The slug is taken, or in quarantine after a deletion.
        """
        regions = sorted({cluster.region for cluster in await self._clusters.registered()})
        if request.region not in regions:
            known = ", ".join(regions) or "none yet: register a cluster"
            raise Invalid(("/region", f"there is no such region; regions: {known}"))
        now = self._clock.now()
        operation = new_operation(OperationKind.PROVISION, request.slug, actor=actor, now=now)
        tenant = Tenant(
            slug=request.slug,
            state=TenantState.PROVISIONING,
            plan=request.plan,
            region=request.region,
            version=request.version or self._settings.tenants.default_version,
            email=request.email,
            display_name=request.display_name,
            created_at=now,
            changed_at=now,
            operation=operation,
        )
        try:
            await self._records.save(Stored(tenant), self._audit(tenant, "none"))
        except Conflict as error:
            await self._take_over(tenant, error)
        await workflows.start(operation)
        return operation

    async def delete(self, slug: str, actor: str, workflows: Workflows) -> Operation:
        """Start to remove a tenant with everything it has.

        Raises:
            NotFound: There is no such tenant, or it is deleted already.
            Conflict: Another operation is running on it.
        """
        stored = await self._records.get(slug)
        if stored.value.state is TenantState.DELETED:
            raise NotFound(f"tenant {slug} was deleted")
        now = self._clock.now()
        operation = new_operation(OperationKind.DELETE, slug, actor=actor, now=now, cluster=stored.value.cluster)
        tenant = stored.value.begin(operation, now)
        await self._records.save(stored.with_value(tenant), self._audit(tenant, stored.value.state))
        await workflows.start(operation)
        return operation

    async def _take_over(self, tenant: Tenant, taken: Conflict) -> None:
        """Save a signup in the place of a tombstone whose quarantine is over; raises Conflict for any other tenant."""
        stored = await self._records.get(tenant.slug)
        if not stored.value.slug_is_free(tenant.created_at):
            raise Conflict(f"the slug {tenant.slug} is not available") from taken
        await self._records.save(stored.with_value(tenant), self._audit(tenant, stored.value.state))

    def _audit(self, tenant: Tenant, before: str) -> AuditEntry:
        return audit_entry(tenant, before, reason="requested")


def audit_entry(tenant: Tenant, before: str, *, reason: str) -> AuditEntry:
    """Describe the change that brought a tenant to its present state; its operation's actor is who did it."""
    return AuditEntry(
        slug=tenant.slug,
        at=tenant.changed_at,
        actor=tenant.operation.actor,
        action=tenant.operation.kind,
        reason=reason,
        before=before,
        after=tenant.state,
        operation_id=tenant.operation.id,
    )


def quarantine(settings: Settings) -> timedelta:
    """How long a deleted tenant's slug stays taken."""
    return timedelta(days=settings.tenants.quarantine_days)
