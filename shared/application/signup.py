"""Signing up: take a slug and start to provision its tenant."""

from dataclasses import dataclass, replace
from datetime import timedelta

from shared.application.admission import Admission
from shared.application.idempotent_start import Caller, IdempotentStart
from shared.application.ports.clock import Clock
from shared.application.ports.clusters import ClusterRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.saved_changes import save_change
from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.operations import Operation
from shared.domain.plans import Plans
from shared.domain.slugs import Slug, check_slug
from shared.domain.tenants import NEW, Tenant
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
        plans: Plans,
        clock: Clock,
        settings: TenantSettings,
    ) -> None:
        self._tenants = tenants
        self._clusters = clusters
        self._admission = admission
        self._start = start
        self._plans = plans
        self._clock = clock
        self._settings = settings

    async def sign_up(self, request: SignupRequest, caller: Caller, workflows: Workflows) -> Operation:
        """Take a slug and start to provision its tenant.

        Raises:
            Invalid: There is no such plan, or no cluster is registered for the region.
            Conflict: The slug is taken, or in quarantine after a deletion.
            NoRoom: No cluster of the region can take it, now or after waiting.
            QueueFull: Too many signups are queued.
            Transient: The clusters that could take it do not respond.
            KeyReused: The idempotency key stands for another request.
        """

        async def save(operation: Operation) -> bool:
            self._check_plan(request.plan)
            before = await self._replaceable(request.slug)
            self._start.ensure_in_time(operation.created_at)
            if before is not None:  # what the former owner did last must not look like this tenant's
                after = before.value.changed_at + timedelta(milliseconds=1)
                operation = replace(operation, created_at=max(operation.created_at, after))
            await self._check_region(request.region)
            async with self._admission.reserved(
                operation, region=request.region, plan=request.plan, workflows=workflows
            ) as placement:
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
                    state_since=operation.created_at,
                    operation=operation,
                ).placed(
                    placement.cluster,
                    placement.instance,
                    placement.size,
                    operation.created_at,
                    placement.message,
                )
                try:
                    await save_change(
                        self._tenants,
                        before.with_value(tenant) if before else Stored(tenant),
                        before=before.value.state if before else NEW,
                        reason="requested",
                        begins_operation=True,
                    )
                except Conflict as error:
                    raise Conflict(f"the slug {request.slug} is not free: this name is taken") from error
            return await self._admission.may_start(placement)

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
        return None if tenant.slug_is_free(self._clock.now()) else self._why_taken(tenant)

    async def ensure_free(self, slug: Slug) -> None:
        """Raise Conflict unless a signup may take a slug."""
        await self._replaceable(slug)

    async def _replaceable(self, slug: Slug) -> Stored[Tenant] | None:
        """Return the tombstone that a signup may replace, or None if nobody had the slug; raises Conflict."""
        try:
            stored = await self._tenants.get(slug)
        except NotFound:
            return None
        if not stored.value.slug_is_free(self._clock.now()):
            raise Conflict(f"the slug {slug} is not free: {self._why_taken(stored.value)}")
        return stored

    def _why_taken(self, tenant: Tenant) -> str:
        if tenant.state is not TenantState.DELETED:
            return "this name is taken"
        return f"this name was in use and stays reserved until {tenant.quarantine_until:%Y-%m-%d}"

    def _check_plan(self, plan: str) -> None:
        if plan not in self._plans:
            raise Invalid(("/plan", f"there is no such plan; plans: {', '.join(self._plans)}"))

    async def _check_region(self, region: str) -> None:
        """Raise Invalid if no cluster is registered for a region."""
        if any(cluster.region == region for cluster in await self._clusters.registered()):
            return
        regions = sorted({cluster.region for cluster in await self._clusters.list()})  # one may be new
        if region not in regions:
            known = ", ".join(regions) or "none yet: register a cluster"
            raise Invalid(("/region", f"there is no such region; regions: {known}"))
