"""Starting an operation: recorded first, then started in the task hub, and only once for each idempotency key."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from shared.application.existing_tenant import existing_tenant
from shared.application.ports.clock import Clock
from shared.application.ports.idempotency import IdempotencyRepository
from shared.application.ports.stored import Stored
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.domain.idempotency import Claim
from shared.domain.lifecycle import OperationKind, rules_of
from shared.domain.operations import Operation, OperationId, age, new_operation
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.errors import ChangedMeanwhile, Conflict, KeyReused, NoRoom, NotFound, QueueFull, Transient
from shared.events import log_context, log_event
from shared.telemetry.recorder import recorder

logger = logging.getLogger(__name__)

MAX_TRIES = 10  # against other requests for the same tenant
LATE_SECONDS = 5.0  # for which a request may be held up before it reads its tenant


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller's own name for itself, and the idempotency key with the request's fingerprint; both may be empty."""

    actor: str
    key: str = ""
    fingerprint: str = ""


class IdempotentStart:
    """Begins operations for the use cases.

    The same idempotency key gives the same operation again; a key that stands for another request raises KeyReused.
    """

    def __init__(
        self,
        *,
        tenants: TenantRepository,
        keys: IdempotencyRepository,
        clock: Clock,
    ) -> None:
        self._tenants = tenants
        self._keys = keys
        self._clock = clock

    async def begin(
        self,
        kind: OperationKind,
        slug: Slug,
        caller: Caller,
        workflows: Workflows,
        save: Callable[[Operation], Awaitable[bool]],
    ) -> Operation:
        """Record a new operation and start it, unless the caller's key already has one.

        Args:
            kind: What the operation does.
            slug: The tenant.
            caller: Who asks.
            workflows: Where the orchestration is started.
            save: Reads the tenant, writes it with the operation, and returns whether that may start now; one that
                waits for a slot is started by whoever gives it one. Raises what the caller is to get if that is not
                allowed. It is called again if somebody else changed the tenant in between.
        """
        operation = new_operation(kind, slug, actor=caller.actor, now=self._clock.now(), trace=recorder().trace())
        held_id = await self.claim(caller, operation.id)
        if held_id != operation.id:
            known = await self._find(held_id)
            if known is not None:
                return known
            # The first request with this key is still running, or failed at this point: continue with its operation.
            operation = replace(operation, id=held_id)
        for _ in range(MAX_TRIES):
            try:
                with log_context(tenant=slug, operation=operation.id):  # a refusal is logged too
                    may_start = await save(operation)
            except (QueueFull, Conflict, NotFound) as error:
                known = await self._find(operation.id) if caller.key else None
                if known is not None:
                    return known  # another request with this key was faster
                if not isinstance(error, ChangedMeanwhile):
                    raise
                continue
            if may_start:
                await self.start(operation, workflows)
            return operation
        raise Conflict(f"{slug} is changing too fast; send the request again")

    async def begin_once(
        self,
        kind: OperationKind,
        slug: Slug,
        caller: Caller,
        workflows: Workflows,
        save: Callable[[Operation], Awaitable[bool]],
        *,
        found: Stored[Tenant] | None = None,
    ) -> Operation | Tenant:
        """Do as `begin`, unless one of the kind is open, or the tenant is already as it would be: without a key, too.

        Args:
            kind: As for `begin`, and so all that follow.
            slug: The tenant.
            caller: Who asks.
            workflows: Where the orchestration is started.
            save: Writes the tenant with the operation.
            found: The tenant, if the caller has just read it.

        Returns:
            The open operation; or the tenant, if nothing has to be done. A repeated key gives its own operation again.
        """
        for _ in range(MAX_TRIES):
            stored, found = found or await existing_tenant(self._tenants, slug), None
            operation = stored.value.operation
            if operation.is_open and operation.kind is kind and not operation.is_aborting:
                return await self._joined(caller, operation)
            if not operation.is_open and stored.value.state is rules_of(kind).after_success:
                known = await self._joined(caller, operation)
                return known if caller.key and known.kind is kind else stored.value
            try:
                return await self.begin(kind, slug, caller, workflows, save)
            except Conflict as error:
                if isinstance(error, NoRoom) or (await self._tenants.get(slug)).etag == stored.etag:
                    raise  # for what the tenant is, not because another request was faster
        raise Conflict(f"{slug} is changing too fast; send the request again")

    def ensure_in_time(self, asked_at: datetime) -> None:
        """Raise Transient for a request that was held up; asked right after reading the tenant that is to be replaced.

        What was read then may belong to somebody else, who took the slug after the request came.
        """
        if age(asked_at, self._clock.now()) > LATE_SECONDS:
            raise Transient("the request was held up on its way: send it again")

    async def start(self, operation: Operation, workflows: Workflows) -> None:
        """Start the orchestration of a recorded operation; if that is not possible now, recovery will do it."""
        try:
            await workflows.start(operation)
        except Transient as error:
            log_event(
                logger,
                "operation not started yet",
                level=logging.WARNING,
                tenant=operation.slug,
                operation=operation.id,
                cause=str(error),
            )

    async def claim(self, caller: Caller, operation_id: OperationId) -> OperationId:
        """Take the caller's key, if there is one, and return the operation that it stands for; raises KeyReused."""
        if not caller.key:
            return operation_id
        claim = Claim(caller.key, caller.fingerprint, operation_id)
        held = await self._keys.claim(claim, now=self._clock.now())
        if held.fingerprint != caller.fingerprint:
            raise KeyReused("this Idempotency-Key was used for another request; use a new one for this request")
        return held.operation_id

    async def _joined(self, caller: Caller, operation: Operation) -> Operation:
        """Take the caller's key for an operation that was begun by others, and return the one that it stands for."""
        held_id = await self.claim(caller, operation.id)
        return operation if held_id == operation.id else await self._find(held_id) or operation

    async def _find(self, operation_id: OperationId) -> Operation | None:
        try:
            return await self._tenants.get_operation(operation_id)
        except NotFound:
            return None
