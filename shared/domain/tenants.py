"""A tenant: a customer's entry, with the one operation that is running on it, or the last that ran.

Both change in the same conditional write, so two operations can never run on one tenant.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.domain.clusters import NO_CLUSTER, ClusterName
from shared.domain.instances import NO_INSTANCE, InstanceId
from shared.domain.lifecycle import StepName, TenantState
from shared.domain.operations import Operation, OperationId, OperationState
from shared.domain.slugs import Slug
from shared.errors import Conflict


@dataclass(frozen=True, slots=True)
class Observed:
    """What the cluster last reported about the tenant's workload, and when."""

    ready: bool
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer's entry.

    `instance` is what runs for it, and is empty once that was removed; `cluster` is empty until it was placed;
    `quarantine_until` is set on a tombstone and says when the slug is free again. A tombstone holds no personal data.
    """

    slug: Slug
    state: TenantState
    plan: str
    region: str
    version: str
    email: str
    display_name: str
    created_at: datetime
    changed_at: datetime
    operation: Operation
    instance: InstanceId = NO_INSTANCE
    cluster: ClusterName = NO_CLUSTER
    observed: Observed | None = None
    quarantine_until: datetime | None = None

    def begin(self, operation: Operation, now: datetime) -> "Tenant":
        """Take on a new operation; raises Conflict while another one is open or when the state does not allow it."""
        running = self.operation
        if running.is_open:
            cancel = ", or cancel it" if running.rules.can_be_cancelled and not running.is_aborting else ""
            raise Conflict(
                f"{self.slug} is busy: operation {running.id} ({running.kind}) is {running.state}; "
                f"wait until it has ended{cancel}"
            )
        if self.state not in operation.rules.starts_from:
            allowed = " or ".join(sorted(state for state in operation.rules.starts_from if state))
            raise Conflict(f"{self.slug} is {self.state}; only {allowed} tenants can be {operation.rules.participle}")
        operation = replace(operation, instance=self.instance, cluster=self.cluster)
        return replace(self, state=operation.rules.during, changed_at=now, operation=operation)

    def succeed(self, now: datetime, *, quarantine: timedelta) -> "Tenant":
        """End the open operation well; raises Conflict if it has ended.

        A tenant whose life cycle ends with it becomes a tombstone: no personal data, and the slug stays taken for
        `quarantine`. That of a tenant without an instance, which was never active, is free at once: nobody can have
        kept a link to it.
        """
        ended = self._end(OperationState.SUCCEEDED, self.operation.rules.after_success, now)
        return ended._tombstone(now, quarantine) if ended.state is TenantState.DELETED else ended

    def fail(self, now: datetime) -> "Tenant":
        """End an operation that failed or was cancelled, after its compensation.

        Raises Conflict if it has ended, or if its kind is retried until it succeeds.
        """
        rules = self.operation.rules
        cancelled = self.operation.cancel_requested
        target = rules.after_cancel if cancelled else rules.after_failure
        if target is None:
            raise Conflict(f"an operation of the kind {self.operation.kind} is retried until it succeeds")
        ended = self._end(OperationState.CANCELLED if cancelled else OperationState.FAILED, target, now)
        return ended._without_instance() if rules.compensation is StepName.REMOVE else ended

    def forget(self, now: datetime, reason: str, *, quarantine: timedelta) -> "Tenant":
        """Forget its instance, whatever is left of that, and end its open operation as cancelled.

        One that was being deleted is deleted then; any other has failed, and can be retried or deleted.
        """
        operation, removing = self.operation, False
        if operation.is_open:
            removing = StepName.REMOVE in operation.rules.steps
            operation = operation.fail_step(now, reason).finish(OperationState.CANCELLED, now)
        forgotten = replace(self, operation=operation, changed_at=now)
        if removing:
            return replace(forgotten, state=TenantState.DELETED)._tombstone(now, quarantine)
        return replace(forgotten, state=TenantState.FAILED)._without_instance()

    def lose_instance(self, now: datetime, message: str) -> "Tenant":
        """Record that somebody removed the instance of an active tenant: it has failed, and can be retried."""
        lost = replace(self, state=TenantState.FAILED, changed_at=now)._without_instance()
        return replace(lost, observed=Observed(ready=False, message=message, at=now))

    def placed(self, cluster: ClusterName, instance: InstanceId, now: datetime, message: str) -> "Tenant":
        """Record where an instance for its open operation has a reservation."""
        operation = self.operation.placed(cluster, instance, now, message)
        return replace(self, cluster=cluster, instance=instance, operation=operation)

    def moved(self, cluster: ClusterName, instance: InstanceId, now: datetime, message: str) -> "Tenant":
        """Record that its open operation has a reservation for another instance now."""
        placed = self.placed(cluster, instance, now, message)
        return replace(placed, operation=replace(placed.operation, moves=placed.operation.moves + 1))

    def is_on(self, cluster: ClusterName, instance: InstanceId) -> bool:
        """Whether this is its instance, and there."""
        return (self.cluster, self.instance) == (cluster, instance)

    def is_done_with(self, instance: InstanceId) -> bool:
        """Whether nothing of an instance may be left: the tenant has another one or none, or this one is removed."""
        operation = self.operation
        removing = operation.is_open and (operation.is_aborting or StepName.REMOVE in operation.rules.steps)
        return self.instance != instance or removing

    def is_reachable(self, instance: InstanceId) -> bool:
        """Whether the tenant's address may lead to an instance: it is the active one, or is becoming it."""
        operation = self.operation
        state = operation.rules.after_success if operation.is_open else self.state
        return state is TenantState.ACTIVE and not self.is_done_with(instance)

    def slug_is_free(self, now: datetime) -> bool:
        """Whether somebody else may take the slug: the tenant is gone and its quarantine is over."""
        return self.state is TenantState.DELETED and self.quarantine_until is not None and now >= self.quarantine_until

    def _tombstone(self, now: datetime, quarantine: timedelta) -> "Tenant":
        """Keep no personal data, and keep the slug taken if it was ever in use."""
        return replace(
            self._without_instance(),
            operation=replace(self.operation, actor=""),
            email="",
            display_name="",
            quarantine_until=now + quarantine if self.instance else now,
        )

    def _without_instance(self) -> "Tenant":
        return replace(self, instance=NO_INSTANCE, cluster=NO_CLUSTER, observed=None)

    def _end(self, outcome: OperationState, target: TenantState, now: datetime) -> "Tenant":
        if not self.operation.is_open:
            raise Conflict(f"operation {self.operation.id} has {self.operation.state} already")
        return replace(self, state=target, changed_at=now, operation=self.operation.finish(outcome, now))


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of a tenant: who, what, why, and the state before and after it."""

    slug: Slug
    at: datetime
    actor: str
    action: str
    reason: str
    before: str
    after: str
    operation_id: OperationId
