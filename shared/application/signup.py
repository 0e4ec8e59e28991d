"""Signing up: take a slug and start to provision its tenant."""

from dataclasses import dataclass, replace

from shared.application.admission import Admission
from shared.application.idempotent_start import Caller, IdempotentStart
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.transitions import NEW, save_transition
from shared.domain.instances import new_instance_id
from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.operations import Operation
from shared.domain.slugs import Slug, check_slug
from shared.domain.tenants import Tenant
from shared.errors import Conflict, Invalid, NotFound
from shared.settings import TenantSettings


@dataclass(frozen=True, slots=True)
class SignupRequest:
    """A valid request for a new tenant; `version` is empty for the default one."""

    slug: Slug
    plan: str
    region: str
    email: str
    display_name: str
    version: str = ""


class Signup:
    """Takes signups."""

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        clusters: ClusterRepository,
        admission: Admission,
        start: IdempotentStart,
        clock: Clock,
        settings: TenantSettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._admission = admission
        self._start = start
        self._clock = clock
        self._settings = settings

    async def sign_up(self, request: SignupRequest, caller: Caller, workflows: Workflows) -> Operation:
        """Take a slug and start to provision its tenant.

        Raises:
            Invalid: No cluster is registered for the region.
            Conflict: The slug is taken, or in quarantine after a deletion.
            QueueFull: Too many signups are queued.
            KeyReused: The idempotency key stands for another request.
        """
        regions = sorted({cluster.region for cluster in await self._clusters.registered()})
        if request.region not in regions:
            known = ", ".join(regions) or "none yet: register a cluster"
            raise Invalid(("/region", f"there is no such region; regions: {known}"))

        async def save(operation: Operation) -> None:
            operation = replace(operation, instance=new_instance_id())
            tenant = Tenant(
                slug=request.slug,
                state=operation.rules.during,
                plan=request.plan,
                region=request.region,
                version=request.version or self._settings.default_version,
                email=request.email,
                display_name=request.display_name,
                created_at=operation.created_at,
                changed_at=operation.created_at,
                operation=operation,
                instance=operation.instance,
            )
            async with self._admission.arriving():
                try:
                    await save_transition(self._tenants, Stored(tenant), before=NEW, reason="requested")
                except Conflict as error:
                    await self._take_over(tenant, error)

        return await self._start.begin(OperationKind.PROVISION, request.slug, caller, workflows, save)

    async def slug_problem(self, slug: str) -> str | None:
        """Return why a slug is not free, never who has it, or None if it is."""
        problem = check_slug(slug)
        if problem is not None:
            return problem
        try:
            tenant = (await self._tenants.get(Slug(slug))).value
        except NotFound:
            return None
        if tenant.state is not TenantState.DELETED:
            return "this name is taken"
        if not tenant.slug_is_free(self._clock.now()):
            return f"this name was in use and stays reserved until {tenant.quarantine_until:%Y-%m-%d}"
        return None

    async def _take_over(self, tenant: Tenant, taken: Conflict) -> None:
        """Replace a tombstone whose quarantine is over by a signup; raises Conflict for any other tenant."""
        stored = await self._tenants.get(tenant.slug)
        if not stored.value.slug_is_free(tenant.created_at):
            raise Conflict(f"the slug {tenant.slug} is not free: {await self.slug_problem(tenant.slug)}") from taken
        await save_transition(self._tenants, stored.with_value(tenant), before=stored.value.state, reason="requested")
