"""Forgetting: end what berth does with an instance that it can neither reach nor remove."""

from datetime import timedelta

from shared.application.admission import Admission
from shared.application.breakers import Breakers
from shared.application.idempotent_start import Caller
from shared.application.ports.clock import Clock
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.transitions import save_transition
from shared.domain.clusters import ClusterName
from shared.domain.instances import namespace_name
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.errors import BerthError, Conflict
from shared.settings import TenantSettings

MAX_TRIES = 10  # against the writes of the operation's own progress


class Forget:
    """Takes requests to forget: an operator's last resort, when a cluster will not come back or refuses for ever.

    What is left on the cluster is of no tenant then, and reconciliation removes it once that is possible.
    """

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        admission: Admission,
        breakers: Breakers,
        clock: Clock,
        settings: TenantSettings,
    ) -> None:
        self._tenants = tenants
        self._admission = admission
        self._breakers = breakers
        self._clock = clock
        self._settings = settings

    async def forget(self, slug: Slug, reason: str, caller: Caller, workflows: Workflows) -> Tenant:
        """End a tenant's open operation, free its reservation, and return the tenant, which has no instance then.

        Asking again is safe.

        Args:
            slug: The tenant.
            reason: Why, in the operator's words, for the audit trail.
            caller: Who asks.
            workflows: Where the operation is started that gets the slot.

        Raises:
            NotFound: There is no such tenant.
            Conflict: Its cluster responds, so that it can be cancelled or deleted.
        """
        for _ in range(MAX_TRIES):
            stored = await self._tenants.get(slug)
            tenant = stored.value
            if not tenant.instance and not tenant.operation.is_open:
                return tenant
            if not tenant.is_done_with(tenant.instance) and await self._responds(tenant.cluster):
                action = "cancel its operation" if tenant.operation.is_open else "delete the tenant"
                raise Conflict(
                    f"{slug} is not forgotten: its cluster {tenant.cluster} responds, so {action} instead; "
                    "if that does not end, forget it then"
                )
            left = _left(tenant)
            forgotten = tenant.forget(
                self._clock.now(),
                f"forgotten by an operator: {left}",
                quarantine=timedelta(days=self._settings.quarantine_days),
            )
            try:
                await save_transition(
                    self._tenants,
                    stored.with_value(forgotten),
                    before=tenant.state,
                    reason=left,
                    actor=caller.actor,
                    action="forget",
                    note=reason,
                    ends_operation=tenant.operation.is_open,
                )
            except Conflict:
                continue
            if tenant.cluster:
                await self._admission.release(tenant.cluster, tenant.instance, workflows)
            return forgotten
        raise Conflict(f"{slug} is changing too fast to be forgotten; send the request again")

    async def _responds(self, name: ClusterName) -> bool:
        try:
            return not await self._breakers.found_dead(name)
        except BerthError:  # there is no way to ask it, such as a registration without a context
            return False


def _left(tenant: Tenant) -> str:
    """Return what may be left on the tenant's cluster, in words."""
    if not tenant.instance:
        return "nothing is left of it"
    namespace = namespace_name(tenant.instance)
    return f"the namespace {namespace} and its volume may be left on {tenant.cluster} until reconciliation removes them"
