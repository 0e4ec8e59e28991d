"""Plays what happens to the tenants of customers: they wake when they are used, and the nightly sweep decides on them.

Who sleeps is decided by berth's own rule, `decide`, with the policy of the plan; what follows is a log of berth's own
transitions. A provisioning, a wake and a hibernation take no time here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from cli.simulate.population import DAY, Customer
from shared.domain.clusters import ClusterName
from shared.domain.dormancy import Outcome, Signal, Window, decide
from shared.domain.instances import InstanceId
from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.operations import Operation, OperationId, OperationState
from shared.domain.plans import Plans
from shared.domain.policy import DormancyPolicy
from shared.domain.tenants import Tenant
from shared.domain.uses import Transition, Use, next_transition
from shared.domain.visits import VISITOR

TRIAL, PAID = "trial", "standard"
SWEEP_AT = timedelta(hours=2, minutes=30)  # as in the README: `0 30 2 * * *`
WATCHED = timedelta(days=10_000)  # the gateway has watched all tenants without a gap
VERSION = "1"

type Uses = Mapping[tuple[bool, str], Use]
"""What a tenant uses, awake or asleep, by its plan."""


class Event(Enum):
    """What happens to a tenant besides a use."""

    PAYS = auto()
    LEAVES = auto()


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides on the tenants: how each plan's policy is, and until when is played."""

    policies: Mapping[str, DormancyPolicy]
    end: datetime


def uses_of(plans: Plans, cluster: ClusterName, region: str) -> Uses:
    """Return what a tenant of each plan uses on a cluster."""
    return {
        (awake, plan): Use(awake, cluster, region, plan, VERSION, plans[plan].size)
        for awake in (True, False)
        for plan in (TRIAL, PAID)
    }


def play(customer: Customer, uses: Uses, rules: Rules) -> Sequence[Transition]:
    """Return the transitions of one customer's instance, in order."""
    return _Life(customer, uses, rules).log


class _Life:
    """One tenant, from its signup on."""

    def __init__(self, customer: Customer, uses: Uses, rules: Rules) -> None:
        self._uses, self._rules = uses, rules
        self._instance = InstanceId(customer.slug)
        self._last_use = customer.uses[0][1]
        self.log: list[Transition] = []
        self._tenant = _new_tenant(customer, self._instance)
        self._change(TenantState.ACTIVE, customer.arrives)
        for at, what in _events(customer):
            if at >= rules.end:
                break
            self._sweep_until(at)
            match what:
                case Event.PAYS:
                    self._tenant = replace(self._tenant, plan=PAID)
                    self._change(self._tenant.state, at)
                case Event.LEAVES:
                    self._change(TenantState.DELETED, at)
                case ends:
                    self._last_use = ends
                    if self._tenant.state is TenantState.HIBERNATED:
                        self._wake(at)
        self._sweep_until(rules.end)

    def _change(self, state: TenantState, at: datetime) -> None:
        """Let the tenant be in a state, and log what that changes of what it uses."""
        if state is not self._tenant.state:
            self._tenant = replace(self._tenant, state=state, state_since=at, changed_at=at)
        use = None if state is TenantState.DELETED else self._uses[state is TenantState.ACTIVE, self._tenant.plan]
        last = self._tenant.transition
        transition = next_transition(last, self._instance, use, at)
        if transition is not None and transition is not last:
            self.log.append(transition)
        self._tenant = replace(self._tenant, transition=transition)
        self._due = self._decide(at)[1]

    def _wake(self, at: datetime) -> None:
        woken = replace(self._tenant.operation, kind=OperationKind.WAKE, actor=VISITOR, finished_at=at)
        self._tenant = replace(self._tenant, operation=woken)
        self._change(TenantState.ACTIVE, at)

    def _sweep_until(self, moment: datetime) -> None:
        """Let the nightly sweeps before a moment decide, those that have to."""
        while self._due is not None:
            night = _first_sweep(self._due)
            if night >= moment:
                return
            outcome, self._due = self._decide(night)
            if outcome is Outcome.HIBERNATE:
                self._change(TenantState.HIBERNATED, night)

    def _decide(self, at: datetime) -> tuple[Outcome, datetime | None]:
        signal = Signal("gateway", min(self._last_use, at), Window(at - WATCHED, at), required=True)
        decision = decide(self._tenant, [signal], self._rules.policies[self._tenant.plan], at)
        return decision.outcome, decision.next_due


def _events(customer: Customer) -> Iterator[tuple[datetime, Event | datetime]]:
    """Yield what happens to a tenant after its signup, in order; of a use also when it ends."""
    pays = customer.pays
    for each in customer.uses[1:]:
        if pays is not None and pays <= each[0]:
            yield pays, Event.PAYS
            pays = None
        yield each
    if pays is not None:
        yield pays, Event.PAYS
    if customer.leaves is not None:
        yield customer.leaves, Event.LEAVES


def _first_sweep(moment: datetime) -> datetime:
    night = moment.replace(hour=0, minute=0, second=0, microsecond=0) + SWEEP_AT
    return night if night >= moment else night + DAY


def _new_tenant(customer: Customer, instance: InstanceId) -> Tenant:
    """Return a tenant that is provisioned; its first transition is still to come."""
    at = customer.arrives
    provisioned = Operation(
        id=OperationId(f"{customer.slug}.1"),
        kind=OperationKind.PROVISION,
        slug=customer.slug,
        actor="portal",
        created_at=at,
        heartbeat_at=at,
        steps=(),
        state=OperationState.SUCCEEDED,
        finished_at=at,
    )
    return Tenant(
        slug=customer.slug,
        state=TenantState.ACTIVE,
        plan=TRIAL,
        region="",
        version=VERSION,
        email="",
        display_name="",
        created_at=at,
        changed_at=at,
        state_since=at,
        operation=provisioned,
        instance=instance,
        active_since=at,
    )
