"""A tenant: a customer's entry, with the one operation that is running on it, or the last that ran.

Both change in the same conditional write, so two operations can never run on one tenant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.domain.clusters import NO_CLUSTER, ClusterName
from shared.domain.instances import NO_INSTANCE, InstanceId
from shared.domain.lifecycle import StepName, TenantState
from shared.domain.operations import Operation, OperationId, OperationState
from shared.domain.policy import NO_OVERRIDE, PolicyOverride
from shared.domain.slugs import Slug
from shared.domain.uses import Size, Transition, Use, next_transition
from shared.errors import Conflict

NEW = "none"  # the state before, of a tenant that was not there


@dataclass(frozen=True, slots=True)
class Observed:
    """What the cluster last reported about the tenant's workload, and when."""

    ready: bool
    message: str
    at: datetime


def observed_asleep(now: datetime) -> Observed:
    """Return what is observed of a tenant whose pods have stopped."""
    return Observed(ready=False, message="asleep: it has no pod", at=now)


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer's entry.

    `state_since` is when it got its state; `instance` is what runs for it, and is empty once that was removed by berth;
    `cluster` is empty until it was placed; `active_since` is when the last instance that became active first did, and
    stays when that is gone; `policy` is what differs from its plan's; `replicas` is how many pods each of its workloads
    had before it was put to sleep, and is empty while it is awake; `size` is that of its instance, and `next_size` what
    it will be once the open operation succeeds; `seed_id` is of the seed from which its instance's secret is derived,
    and is empty before its objects were applied first; `transition` is the last change of what it uses;
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
    state_since: datetime
    operation: Operation
    instance: InstanceId = NO_INSTANCE
    cluster: ClusterName = NO_CLUSTER
    active_since: datetime | None = None
    policy: PolicyOverride = NO_OVERRIDE
    replicas: Mapping[str, int] = field(default_factory=dict[str, int])
    size: Size | None = None
    next_size: Size | None = None
    seed_id: str = ""
    transition: Transition | None = None
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
            *others, last = sorted(state for state in operation.rules.starts_from if state)
            allowed = f"{', '.join(others)} or {last}" if others else last
            raise Conflict(f"{self.slug} is {self.state}; only {allowed} tenants can be {operation.rules.participle}")
        operation = replace(operation, instance=self.instance, cluster=self.cluster)
        return replace(self._in_state(operation.rules.during, now), operation=operation)

    def succeed(self, now: datetime, *, quarantine: timedelta) -> "Tenant":
        """End the open operation well; raises Conflict if it has ended.

        A tenant whose life cycle ends with it becomes a tombstone: no personal data, and the slug stays taken for
        `quarantine`. That of a tenant that was never active is free at once: nobody can have kept a link to it.
        """
        sized = replace(self, size=self.next_size or self.size)
        ended = sized._end(OperationState.SUCCEEDED, self.operation.rules.after_success, now)
        if ended.state is TenantState.DELETED:
            return ended._tombstone(now, quarantine)
        return replace(ended, active_since=now) if self.operation.rules.makes_instance else ended

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
        return ended if target.has_instance else replace(ended._without_instance(), observed=None)

    def forget(self, now: datetime, reason: str, *, quarantine: timedelta) -> "Tenant":
        """Forget its instance, whatever is left of that, and end its open operation as cancelled.

        One that was being deleted is deleted then; any other has failed, and can be retried or deleted.
        """
        operation, removing = self.operation, False
        if operation.is_open:
            removing = StepName.REMOVE in operation.rules.steps
            operation = operation.fail_step(now, reason).finish(OperationState.CANCELLED, now)
        forgotten = replace(self, operation=operation)
        if removing:
            return forgotten._in_state(TenantState.DELETED, now)._tombstone(now, quarantine)
        return forgotten.lose_instance(now, reason)._without_instance()

    def lose_instance(self, now: datetime, message: str) -> "Tenant":
        """Record that its instance is gone: it has failed, and keeps the instance, which may be restored."""
        observed = Observed(ready=False, message=message, at=now)
        return replace(self._in_state(TenantState.FAILED, now), observed=observed)

    def find_instance_again(self, now: datetime, message: str) -> "Tenant":
        """Record that its lost instance was restored: it is what it was before, active or asleep."""
        state = TenantState.HIBERNATED if self.replicas else TenantState.ACTIVE
        return replace(self._in_state(state, now), observed=Observed(ready=False, message=message, at=now))

    def drop_instance(self, now: datetime) -> "Tenant":
        """Let go of its lost instance; what is restored of it later is of no tenant."""
        return replace(self._without_instance(), changed_at=now)

    def placed(self, cluster: ClusterName, instance: InstanceId, size: Size, now: datetime, message: str) -> "Tenant":
        """Record where an instance of a size has a reservation for its open operation."""
        operation = self.operation.placed(cluster, instance, now, message)
        placed = replace(self, cluster=cluster, instance=instance, next_size=size, operation=operation)
        return placed if instance == self.instance else replace(placed, seed_id="")

    def moved(self, cluster: ClusterName, instance: InstanceId, size: Size, now: datetime, message: str) -> "Tenant":
        """Record that its open operation has a reservation for another instance now."""
        placed = self.placed(cluster, instance, size, now, message)
        return replace(placed, operation=replace(placed.operation, moves=placed.operation.moves + 1))

    @property
    def has_lost_instance(self) -> bool:
        """Whether somebody removed its instance, and it has neither been retried nor deleted since."""
        return self.state is TenantState.FAILED and bool(self.instance)

    def is_on(self, cluster: ClusterName, instance: InstanceId) -> bool:
        """Whether this is its instance, and there."""
        return (self.cluster, self.instance) == (cluster, instance)

    def is_done_with(self, instance: InstanceId) -> bool:
        """Whether nothing of an instance may be left: the tenant has another one or none, or this one is removed."""
        rules, is_aborting = self.operation.rules, self.operation.is_aborting
        removes = StepName.REMOVE in rules.steps or (is_aborting and rules.compensation is StepName.REMOVE)
        return self.instance != instance or (self.operation.is_open and removes)

    def may_run(self, instance: InstanceId) -> bool:
        """Whether an instance may have pods and a route: it is active, or its operation has begun to make it so."""
        operation = self.operation
        if not operation.is_open:
            state = self.state
        elif operation.started_at is None or operation.is_aborting:
            state = operation.rules.after_cancel
        else:
            state = operation.rules.after_success
        return self.instance == instance and state is TenantState.ACTIVE

    @property
    def is_starting(self) -> bool:
        """Whether its open operation starts its pods, or starts them again: it waits for them and opens its route."""
        operation = self.operation
        starts = operation.rules.after_success is TenantState.ACTIVE or operation.has_started(StepName.STOP)
        return operation.is_open and starts

    def slug_is_free(self, now: datetime) -> bool:
        """Whether somebody else may take the slug: the tenant is gone and its quarantine is over."""
        return self.state is TenantState.DELETED and self.quarantine_until is not None and now >= self.quarantine_until

    def _tombstone(self, now: datetime, quarantine: timedelta) -> "Tenant":
        """Keep no personal data, and keep the slug taken if it was ever active."""
        return replace(
            self._without_instance(),
            operation=replace(self.operation, actor=""),
            email="",
            display_name="",
            policy=NO_OVERRIDE,
            active_since=None,
            observed=None,
            quarantine_until=now if self.active_since is None else now + quarantine,
        )

    def _without_instance(self) -> "Tenant":
        return replace(
            self, instance=NO_INSTANCE, cluster=NO_CLUSTER, replicas={}, size=None, next_size=None, seed_id=""
        )

    def _in_state(self, state: TenantState, now: datetime) -> "Tenant":
        """Return it in another state, with the transition if that changes what its instance uses."""
        use = self.transition and self.transition.after  # as long as an operation is open, nothing changes
        if state in (TenantState.FAILED, TenantState.DELETED):
            use = None
        elif state.has_instance and self.size is not None:
            is_awake = state is TenantState.ACTIVE
            use = Use(is_awake, self.cluster, self.region, self.plan, self.version, self.size)
        transition = next_transition(self.transition, self.instance, use, now)
        return replace(self, state=state, state_since=now, changed_at=now, transition=transition)

    def _end(self, outcome: OperationState, target: TenantState, now: datetime) -> "Tenant":
        if not self.operation.is_open:
            raise Conflict(f"operation {self.operation.id} has {self.operation.state} already")
        ended = replace(self._in_state(target, now), operation=self.operation.finish(outcome, now))
        return replace(ended, next_size=None, replicas=ended.replicas if target is TenantState.HIBERNATED else {})


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
