"""Writing a tenant together with the audit entry of its change, and logging it: used for all changes of state."""

import logging

from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.domain.tenants import AuditEntry, Tenant
from shared.events import log_event

logger = logging.getLogger(__name__)


async def save_change(
    tenants: TenantRepository,
    tenant: Stored[Tenant],
    *,
    before: str,
    reason: str,
    actor: str = "",
    action: str = "",
    note: str = "",
    begins_operation: bool = False,
    ends_operation: bool = False,
) -> Stored[Tenant]:
    """Write a tenant and the audit entry of its change in one transaction.

    Args:
        tenants: Where to write.
        tenant: The tenant as it is to be, with the ETag of the row that it replaces.
        before: The state that it had.
        reason: Why it changed.
        actor: Who changed it; by default who asked for its operation.
        action: What was done; by default the kind of its operation.
        note: What a person wrote about it: kept in the audit entry, and not logged.
        begins_operation: Whether this begins its operation.
        ends_operation: Whether this ends it.

    Raises:
        ChangedMeanwhile: Somebody else wrote the row since it was read, it exists and should not, or the operation was
            begun.
    """
    value = tenant.value
    entry = AuditEntry(
        slug=value.slug,
        at=value.changed_at,
        actor=actor or value.operation.actor,
        action=action or value.operation.kind,
        reason=f"{reason}: {note}" if note else reason,
        before=before,
        after=value.state,
        operation_id=value.operation.id,
    )
    saved = await tenants.save(tenant, audit=entry, begins_operation=begins_operation, ends_operation=ends_operation)
    log_event(
        logger,
        "state changed",
        tenant=value.slug,
        operation=value.operation.id,
        kind=entry.action,
        before=before,
        after=value.state,
        operation_state=value.operation.state,
        reason=reason,
    )
    return saved
