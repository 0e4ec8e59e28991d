"""The life cycle of a tenant as a table: each kind of operation, and the states between which it moves a tenant.

    provisioning -> active -> hibernating -> hibernated -> waking -> active
         |             |                         |
         +-> failed ---+-------------------------+-> deleting -> deleted

A deleted tenant is a tombstone; a slug that was ever active stays in quarantine. A hibernation that is turned round, or
fails, ends active; a wake that is cancelled, or fails, ends hibernated.

A new kind of operation is one more row of `RULES`. Whatever depends on the kind reads it there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import Permanent


class TenantState(StrEnum):
    """Where a tenant stands in its life cycle."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    HIBERNATING = "hibernating"
    HIBERNATED = "hibernated"
    WAKING = "waking"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"

    @property
    def has_instance(self) -> bool:
        """Whether a tenant that stays in this state has an instance."""
        return self in (TenantState.ACTIVE, TenantState.HIBERNATED)


class OperationKind(StrEnum):
    """What is being done to the tenant."""

    PROVISION = "provision"
    HIBERNATE = "hibernate"
    WAKE = "wake"
    DELETE = "delete"


class StepName(StrEnum):
    """The steps of all kinds of operation."""

    PLACE = "place"
    APPLY = "apply"
    START = "start"
    STOP = "stop"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRules:
    """What one kind of operation does to a tenant.

    Attributes:
        participle: What happens to a tenant, as in "only failed tenants can be retried"; for messages.
        orchestrator: The registered name of its orchestrator.
        steps: The steps of its plan, in order.
        makes_instance: Whether it makes a new instance; else it is about the one that the tenant has.
        starts_from: The states in which it may start; None stands for a slug that nobody has.
        during: The tenant's state while the operation is open.
        after_success: The state when it has succeeded.
        after_failure: The state when it has failed; None for a kind that is retried until it succeeds.
        after_cancel: The state when it was cancelled; None for a kind that cannot be cancelled.
        compensation: The step that undoes what a failed or cancelled operation has done; None leaves everything as it
            is. Only a compensation, or a step of the plan, may remove a tenant's data.
    """

    participle: str
    orchestrator: str
    steps: tuple[StepName, ...]
    makes_instance: bool
    starts_from: frozenset[TenantState | None]
    during: TenantState
    after_success: TenantState
    after_failure: TenantState | None
    after_cancel: TenantState | None
    compensation: StepName | None

    @property
    def can_be_cancelled(self) -> bool:
        """Whether an open operation of this kind can be cancelled."""
        return self.after_cancel is not None

    def includes(self, step: StepName) -> bool:
        """Whether an operation of this kind may do a step, as a part of its plan or as its compensation."""
        return step in (*self.steps, self.compensation)


RULES: Mapping[OperationKind, KindRules] = {
    OperationKind.PROVISION: KindRules(
        participle="retried",
        orchestrator="provision_tenant",
        steps=(StepName.PLACE, StepName.APPLY, StepName.START),
        makes_instance=True,
        starts_from=frozenset({None, TenantState.FAILED}),
        during=TenantState.PROVISIONING,
        after_success=TenantState.ACTIVE,
        after_failure=TenantState.FAILED,
        after_cancel=TenantState.FAILED,
        compensation=StepName.REMOVE,
    ),
    OperationKind.HIBERNATE: KindRules(
        participle="put to sleep",
        orchestrator="hibernate_tenant",
        steps=(StepName.STOP,),
        makes_instance=False,
        starts_from=frozenset({TenantState.ACTIVE}),
        during=TenantState.HIBERNATING,
        after_success=TenantState.HIBERNATED,
        after_failure=TenantState.ACTIVE,
        after_cancel=TenantState.ACTIVE,
        compensation=StepName.START,
    ),
    OperationKind.WAKE: KindRules(
        participle="woken",
        orchestrator="wake_tenant",
        steps=(StepName.PLACE, StepName.APPLY, StepName.START),
        makes_instance=False,
        starts_from=frozenset({TenantState.HIBERNATED}),
        during=TenantState.WAKING,
        after_success=TenantState.ACTIVE,
        after_failure=TenantState.HIBERNATED,
        after_cancel=TenantState.HIBERNATED,
        compensation=StepName.STOP,
    ),
    OperationKind.DELETE: KindRules(
        participle="deleted",
        orchestrator="delete_tenant",
        steps=(StepName.REMOVE,),
        makes_instance=False,
        starts_from=frozenset({TenantState.ACTIVE, TenantState.HIBERNATED, TenantState.FAILED}),
        during=TenantState.DELETING,
        after_success=TenantState.DELETED,
        after_failure=None,
        after_cancel=None,
        compensation=None,
    ),
}


def rules_of(kind: OperationKind) -> KindRules:
    """Return the rules of a kind of operation; raises Permanent for one that the table does not have."""
    try:
        return RULES[kind]
    except KeyError:
        raise Permanent(f"there are no rules for operations of the kind {kind}") from None
