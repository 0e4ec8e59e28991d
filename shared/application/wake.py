"""Waking: start to run a tenant again that sleeps."""

import logging
from contextlib import suppress

from shared.application.admission import Admission
from shared.application.cancel import Cancel
from shared.application.existing_tenant import existing_tenant
from shared.application.idempotent_start import Caller, IdempotentStart
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.saved_changes import save_change
from shared.domain.lifecycle import OperationKind, rules_of
from shared.domain.operations import Operation
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.errors import Conflict, Transient
from shared.events import log_event

logger = logging.getLogger(__name__)

MAX_TRIES = 10  # against hibernations that begin and end at the same moment


class Wake:
    """Takes requests to wake."""

    def __init__(
        self, *, tenants: TenantRepository, admission: Admission, start: IdempotentStart, cancel: Cancel
    ) -> None:
        self._tenants = tenants
        self._admission = admission
        self._start = start
        self._cancel = cancel

    async def wake(self, slug: Slug, caller: Caller, workflows: Workflows) -> Operation | Tenant:
        """Start to wake a tenant, and return the operation; or the tenant, if it is awake already.

        However many ask at once, there is one operation, and no key is needed. A hibernation that is under way is
        turned round, and returned.

        Raises:
            NotFound: There is no such tenant, or it is deleted.
            Conflict: It does not sleep, or another operation is running on it.
            NoRoom: Its cluster is too small for it.
            KeyReused: The idempotency key stands for another request.
        """

        async def save(operation: Operation) -> bool:
            stored = await existing_tenant(self._tenants, slug)
            before, now = stored.value, operation.created_at
            tenant = before.begin(operation, now)
            self._start.ensure_in_time(now)  # after that, because joining the wake of another request is never late
            size = await self._admission.size_when_woken(tenant)
            tenant = tenant.placed(tenant.cluster, tenant.instance, size, now, f"queued on {tenant.cluster}")
            # Recorded first: whoever else asks meanwhile finds it, and only one takes a slot.
            await save_change(
                self._tenants,
                stored.with_value(tenant),
                before=before.state,
                reason="requested",
                begins_operation=True,
            )
            try:
                return await self._admission.awaken(tenant)
            except (Conflict, Transient) as error:
                log_event(logger, "no slot yet", cluster=tenant.cluster, cause=str(error))
                return True  # its orchestration asks for one again

        for _ in range(MAX_TRIES):
            found = await existing_tenant(self._tenants, slug)
            running = found.value.operation
            if _can_be_turned_round(running):
                with suppress(Conflict):  # it has just ended
                    # Without the key, which would stand for the hibernation then, and give it again instead of a wake.
                    return await self._cancel.cancel(running.id, Caller(caller.actor), workflows)
            try:
                return await self._start.begin_once(OperationKind.WAKE, slug, caller, workflows, save, found=found)
            except Conflict:
                fresh = (await existing_tenant(self._tenants, slug)).value.operation
                if not _can_be_turned_round(fresh):  # else it has just begun
                    raise
        raise Conflict(f"{slug} is changing too fast; send the request again")


def _can_be_turned_round(operation: Operation) -> bool:
    """Whether an operation is open that ends with an active tenant if it is cancelled."""
    return operation.is_open and operation.rules.after_cancel is rules_of(OperationKind.WAKE).after_success
