"""What a caller may ask for: sign up, retry, cancel, delete. Each is written down before any work starts."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from shared.application.admission import Admission
from shared.application.ports import ClusterRecords, KeyRecords, Stored, TenantRecords, Workflows
from shared.clock import Clock
from shared.domain.idempotency import Claim
from shared.domain.naming import check_slug
from shared.domain.operations import Operation, OperationKind, new_operation
from shared.domain.tenants import AuditEntry, Tenant, TenantState
from shared.errors import Busy, Conflict, Invalid, KeyReused, NotFound, Transient
from shared.settings import Settings

logger = logging.getLogger(__name__)

CANCEL_TRIES = 10  # against the writes of the operation's own progress


@dataclass(frozen=True, slots=True)
class SignupRequest:
    """A valid request for a new tenant; `version` is empty for the default one."""

    slug: str
    plan: str
    region: str
    email: str
    display_name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, in their own words, and the idempotency key with the fingerprint of the request; both may be empty."""

    actor: str
    key: str = ""
    fingerprint: str = ""


class TenantLifecycle:
    """Takes requests for changes of tenants.

    Every method that begins an operation gives the same operation again for the same idempotency key, and raises
    KeyReused for a key that stands for another request.
    """

    def __init__(
        self,
        records: TenantRecords,
        clusters: ClusterRecords,
        keys: KeyRecords,
        admission: Admission,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._records = records
        self._clusters = clusters
        self._keys = keys
        self._admission = admission
        self._clock = clock
        self._settings = settings

    async def sign_up(self, request: SignupRequest, caller: Caller, workflows: Workflows) -> Operation:
        """Take a slug and start to provision its tenant.

        Raises:
            Invalid: No cluster is registered for the region.
            Conflict: The slug is taken, or in quarantine after a deletion.
            Busy: Too many signups are waiting.
        """
        regions = sorted({cluster.region for cluster in await self._clusters.registered()})
        if request.region not in regions:
            known = ", ".join(regions) or "none yet: register a cluster"
            raise Invalid(("/region", f"there is no such region; regions: {known}"))

        async def save(operation: Operation) -> None:
            tenant = Tenant(
                slug=request.slug,
                state=TenantState.PROVISIONING,
                plan=request.plan,
                region=request.region,
                version=request.version or self._settings.tenants.default_version,
                email=request.email,
                display_name=request.display_name,
                created_at=operation.created_at,
                changed_at=operation.created_at,
                operation=operation,
            )
            async with self._admission.signup():
                try:
                    await self._records.save(Stored(tenant), _requested(tenant, "none"))
                except Conflict as error:
                    await self._take_over(tenant, error)

        return await self._begin(OperationKind.PROVISION, request.slug, caller, workflows, save)

    async def retry(self, slug: str, version: str, caller: Caller, workflows: Workflows) -> Operation:
        """Provision a failed tenant once more, with another version if one is given; raises NotFound and Conflict."""

        async def save(operation: Operation) -> None:
            stored = await self._existing(slug)
            if stored.value.state is not TenantState.FAILED and not stored.value.operation.is_open:
                raise Conflict(f"{slug} is {stored.value.state}; only a failed tenant can be retried")
            tenant = stored.value.begin(operation, operation.created_at)
            tenant = replace(tenant, version=version or tenant.version)
            async with self._admission.signup():
                await self._records.save(stored.with_value(tenant), _requested(tenant, stored.value.state))

        return await self._begin(OperationKind.PROVISION, slug, caller, workflows, save)

    async def delete(self, slug: str, caller: Caller, workflows: Workflows) -> Operation:
        """Start to remove a tenant with everything it has.

        Raises:
            NotFound: There is no such tenant, or it is deleted already.
            Conflict: Another operation is running on it.
        """

        async def save(operation: Operation) -> None:
            stored = await self._existing(slug)
            operation = replace(operation, cluster=stored.value.cluster)
            tenant = stored.value.begin(operation, operation.created_at)
            await self._records.save(stored.with_value(tenant), _requested(tenant, stored.value.state))

        return await self._begin(OperationKind.DELETE, slug, caller, workflows, save)

    async def cancel(self, operation_id: str, caller: Caller) -> Operation:
        """Ask a provisioning to end; whatever it made is removed, and its tenant is failed. Asking again is safe.

        Raises:
            NotFound: There is no such operation.
            Conflict: It is a deletion, or has ended otherwise.
        """
        await self._records.get_operation(operation_id)  # no key is taken for what is not there
        await self._claim(caller, operation_id)
        for _ in range(CANCEL_TRIES):
            operation = await self._records.get_operation(operation_id)
            if operation.cancel_requested:
                return operation
            if not operation.is_open:
                raise Conflict(f"operation {operation_id} has {operation.state} already")
            if operation.kind is not OperationKind.PROVISION:
                raise Conflict("a deletion cannot be cancelled: part of the tenant may be gone already")
            stored = await self._records.get(operation.slug)
            if stored.value.operation.id != operation_id:
                continue
            asked = replace(stored.value.operation, cancel_requested=True)
            tenant = replace(stored.value, operation=asked, changed_at=self._clock.now())
            entry = replace(audit_entry(tenant, tenant.state, reason="cancellation requested"), actor=caller.actor)
            try:
                await self._records.save(stored.with_value(tenant), entry)
            except Conflict:
                continue
            return asked
        raise Conflict(f"operation {operation_id} is changing too fast to be cancelled; send the request again")

    async def slug_problem(self, slug: str) -> str | None:
        """Return why a slug is not free, never who has it, or None if it is."""
        problem = check_slug(slug)
        if problem is not None:
            return problem
        try:
            tenant = (await self._records.get(slug)).value
        except NotFound:
            return None
        if tenant.state is not TenantState.DELETED:
            return "this name is taken"
        if not tenant.slug_is_free(self._clock.now()):
            return f"this name was in use and stays reserved until {tenant.quarantine_until:%Y-%m-%d}"
        return None

    async def _begin(
        self,
        kind: OperationKind,
        slug: str,
        caller: Caller,
        workflows: Workflows,
        save: Callable[[Operation], Awaitable[None]],
    ) -> Operation:
        """Write an operation down and start it, unless the caller's key says that this was done before."""
        now = self._clock.now()
        operation = new_operation(kind, slug, actor=caller.actor, now=now)
        held_id = await self._claim(caller, operation.id)
        if held_id != operation.id:
            known = await self._find(held_id)
            if known is not None:
                return known
            # The first request with this key is at this point too, or broke off here: go on in its place.
            operation = replace(operation, id=held_id)
        try:
            await save(operation)
        except (Busy, Conflict, NotFound):
            known = await self._find(operation.id) if caller.key else None
            if known is None:
                raise
            return known  # another request with this key was faster
        try:
            await workflows.start(operation)
        except Transient as error:  # it is written down, so the reaper will start it
            logger.warning("operation %s could not be started: %s", operation.id, error)
        return operation

    async def _claim(self, caller: Caller, operation_id: str) -> str:
        """Take the caller's key, if there is one, and return the operation that it stands for; raises KeyReused."""
        if not caller.key:
            return operation_id
        now = self._clock.now()
        expires = now + timedelta(hours=self._settings.provisioning.key_hours)
        held = await self._keys.claim(Claim(caller.key, caller.fingerprint, operation_id, expires), now)
        if held.fingerprint != caller.fingerprint:
            raise KeyReused("this Idempotency-Key was used for another request; use a new one for this request")
        return held.operation_id

    async def _find(self, operation_id: str) -> Operation | None:
        try:
            return await self._records.get_operation(operation_id)
        except NotFound:
            return None

    async def _existing(self, slug: str) -> Stored[Tenant]:
        stored = await self._records.get(slug)
        if stored.value.state is TenantState.DELETED:
            raise NotFound(f"tenant {slug} was deleted")
        return stored

    async def _take_over(self, tenant: Tenant, taken: Conflict) -> None:
        """Save a signup in the place of a tombstone whose quarantine is over; raises Conflict for any other tenant."""
        stored = await self._records.get(tenant.slug)
        if not stored.value.slug_is_free(tenant.created_at):
            raise Conflict(f"the slug {tenant.slug} is not free: {await self.slug_problem(tenant.slug)}") from taken
        await self._records.save(stored.with_value(tenant), _requested(tenant, stored.value.state))


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


def _requested(tenant: Tenant, before: str) -> AuditEntry:
    return audit_entry(tenant, before, reason="requested")
