"""A tenant and its lifecycle.

    provisioning -> active -> deleting -> deleted (a tombstone; the slug stays taken until its quarantine ends)
         |                      ^
         +-> failed ------------+

A tenant carries the one operation that is running on it, or the last that ran. Both change in the same conditional
write, so two operations can never run on one tenant.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from shared.domain.operations import Operation, OperationKind, OperationState
from shared.errors import Conflict


class TenantState(StrEnum):
    """Where a tenant stands in its lifecycle."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"


TRANSITIONS: dict[TenantState, frozenset[TenantState]] = {
    TenantState.PROVISIONING: frozenset({TenantState.ACTIVE, TenantState.FAILED}),
    TenantState.ACTIVE: frozenset({TenantState.DELETING}),
    TenantState.FAILED: frozenset({TenantState.DELETING, TenantState.PROVISIONING}),
    TenantState.DELETING: frozenset({TenantState.DELETED}),
    TenantState.DELETED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Observed:
    """What the cluster last said about the tenant's workload, and when."""

    ready: bool
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Tenant:
    """One customer's instance.

    `cluster` is empty until it was placed; `quarantine_until` is set on a tombstone and says when the slug is free
    again. A tombstone holds no personal data.
    """

    slug: str
    state: TenantState
    plan: str
    region: str
    version: str
    email: str
    display_name: str
    created_at: datetime
    changed_at: datetime
    operation: Operation
    cluster: str = ""
    observed: Observed | None = None
    quarantine_until: datetime | None = None

    def to(self, state: TenantState, now: datetime) -> "Tenant":
        """Move to another state of the lifecycle; raises Conflict for a move that it does not have."""
        if state not in TRANSITIONS[self.state]:
            raise Conflict(f"{self.slug} is {self.state} and cannot become {state}")
        return replace(self, state=state, changed_at=now)

    def begin(self, operation: Operation, now: datetime) -> "Tenant":
        """Take on a new operation; raises Conflict while another one is open or when the state does not allow it."""
        if self.operation.is_open:
            raise Conflict(
                f"{self.slug} is busy: operation {self.operation.id} ({self.operation.kind}) is "
                f"{self.operation.state}; follow it at /api/operations/{self.operation.id}"
            )
        target = {
            OperationKind.PROVISION: TenantState.PROVISIONING,
            OperationKind.DELETE: TenantState.DELETING,
        }[operation.kind]
        return replace(self.to(target, now), operation=operation)

    def succeed(self, now: datetime, *, quarantine: timedelta) -> "Tenant":
        """End the open operation well: a provisioned tenant is active, a deleted one is a tombstone."""
        ended = replace(self, operation=self.operation.finish(OperationState.SUCCEEDED, now))
        if self.operation.kind is OperationKind.PROVISION:
            return ended.to(TenantState.ACTIVE, now)
        return replace(
            ended.to(TenantState.DELETED, now),
            email="",
            display_name="",
            cluster="",
            observed=None,
            quarantine_until=now + quarantine,
        )

    def fail(self, now: datetime) -> "Tenant":
        """End a provisioning that failed or was cancelled, after everything made for it was removed."""
        state = OperationState.CANCELLED if self.operation.cancel_requested else OperationState.FAILED
        ended = replace(self, operation=self.operation.finish(state, now), cluster="", observed=None)
        return ended.to(TenantState.FAILED, now)

    def slug_is_free(self, now: datetime) -> bool:
        """Whether somebody else may take the slug: the tenant is gone and its quarantine is over."""
        return self.state is TenantState.DELETED and self.quarantine_until is not None and now >= self.quarantine_until


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of a tenant: who, what, why, and the state before and after it."""

    slug: str
    at: datetime
    actor: str
    action: str
    reason: str
    before: str
    after: str
    operation_id: str
