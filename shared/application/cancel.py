"""Cancelling: ask a running operation to end and to undo what it did."""

from dataclasses import replace

from shared.application.idempotent_start import Caller, IdempotentStart
from shared.application.ports.clock import Clock
from shared.application.ports.tenants import TenantRepository
from shared.application.ports.workflows import Workflows
from shared.application.saved_changes import save_change
from shared.application.tenant_history import TenantHistory
from shared.domain.operations import Operation
from shared.errors import Conflict

MAX_TRIES = 10  # against the writes of the operation's own progress


class Cancel:
    """Takes requests to cancel."""

    def __init__(
        self, *, tenants: TenantRepository, history: TenantHistory, start: IdempotentStart, clock: Clock
    ) -> None:
        self._tenants = tenants
        self._history = history
        self._start = start
        self._clock = clock

    async def cancel(self, operation_id: str, caller: Caller, workflows: Workflows) -> Operation:
        """Ask an operation to end; its compensation then runs, and its tenant gets the state that its kind says.

        Asking again is safe.

        Raises:
            NotFound: There is no such operation.
            Conflict: Its kind cannot be cancelled, or it has ended otherwise.
            KeyReused: The idempotency key stands for another request.
        """
        known = await self._history.operation(operation_id)  # no key is taken for what is not there
        await self._start.claim(caller, known.id)
        for _ in range(MAX_TRIES):
            stored = await self._tenants.get(known.slug)
            operation = stored.value.operation
            if operation.id != operation_id:  # it has ended, and another one has begun since
                operation = await self._tenants.get_operation(operation_id)
            if operation.cancel_requested:
                if operation.is_open:  # the first request may not have come so far as to start it
                    await self._start.start(operation, workflows)
                return operation
            if not operation.is_open:
                raise Conflict(f"operation {operation_id} has {operation.state} already")
            if not operation.rules.can_be_cancelled:
                raise Conflict(f"an operation of the kind {operation.kind} cannot be cancelled")
            asked = replace(operation, cancel_requested=True)
            tenant = stored.with_value(replace(stored.value, operation=asked, changed_at=self._clock.now()))
            try:
                await save_change(
                    self._tenants,
                    tenant,
                    before=stored.value.state,
                    reason="cancellation requested",
                    actor=caller.actor,
                )
            except Conflict:
                continue
            await self._start.start(asked, workflows)  # one that waits for a slot has no orchestration to end it
            return asked
        raise Conflict(f"operation {operation_id} is changing too fast to be cancelled; send the request again")
