"""The JSON of the responses. The API's description is made from these models.

All times are ISO 8601 in UTC, to the millisecond.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from functions.http import problems
from shared.application.ports import stored
from shared.application.record_activity import Rejection
from shared.domain import clusters, dormancy, operations, reconciliation, sweeps, tenants
from shared.domain.clusters import ClusterState
from shared.domain.dormancy import Outcome
from shared.domain.lifecycle import OperationKind, StepName, TenantState
from shared.domain.operations import OperationState, StepState, seconds_between
from shared.domain.policy import DormancyPolicy
from shared.domain.reconciliation import FindingKind, FindingState
from shared.domain.sweeps import Action, SweepState


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime,
    PlainSerializer(_iso),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": r"T[0-9:]{8}\.[0-9]{3}Z$"}),
]


class _Response(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Step(_Response):
    """One step of an operation."""

    name: StepName
    state: StepState
    message: str
    """Its latest message, such as what it waits for or why it failed."""
    started_at: Moment | None
    finished_at: Moment | None
    seconds: float | None
    """How long it took, in seconds; null unless it ran and ended."""

    @classmethod
    def of(cls, step: operations.Step) -> Self:
        """Return a step as callers see it."""
        return cls(
            name=step.name,
            state=step.state,
            message=step.message,
            started_at=step.started_at,
            finished_at=step.finished_at,
            seconds=step.seconds,
        )


class OperationLinks(_Response):
    """Paths from an operation."""

    self: str
    tenant: str


class Operation(_Response):
    """One change of one tenant, as steps that always reach an end."""

    id: str
    kind: OperationKind
    tenant: str
    """The tenant's slug."""
    state: OperationState
    percent: Annotated[int, Field(ge=0, le=100)]
    """How much of it is done; it never falls, and is 100 only at the end."""
    reason: str
    """Why it failed or was cancelled; else empty."""
    cancel_requested: bool
    queue_position: int | None
    """Its place among those that wait for a slot, from 1; null when it does not wait, and in a 202."""
    created_at: Moment
    started_at: Moment | None
    finished_at: Moment | None
    """When it reached its end; null while it is open."""
    updated_at: Moment
    """When something last wrote progress."""
    steps: tuple[Step, ...]
    kept_volumes: tuple[str, ...]
    """The volumes that stay on the cluster after a removal, because their reclaim policy is Retain. Berth never deletes
    them."""
    links: OperationLinks

    @classmethod
    def of(cls, operation: operations.Operation, queue_position: int | None = None) -> Self:
        """Return an operation as callers see it."""
        return cls(
            id=operation.id,
            kind=operation.kind,
            tenant=operation.slug,
            state=operation.state,
            percent=operation.percent,
            reason=operation.reason,
            cancel_requested=operation.cancel_requested,
            queue_position=queue_position,
            created_at=operation.created_at,
            started_at=operation.started_at,
            finished_at=operation.finished_at,
            updated_at=operation.heartbeat_at,
            steps=tuple(Step.of(step) for step in operation.steps),
            kept_volumes=operation.kept_volumes,
            links=OperationLinks(self=f"/api/operations/{operation.id}", tenant=f"/api/tenants/{operation.slug}"),
        )


class Observed(_Response):
    """What the cluster last reported about a tenant's workload."""

    ready: bool
    message: str
    at: Moment


class TenantLinks(_Response):
    """Paths from a tenant."""

    self: str
    operation: str


class Tenant(_Response):
    """One customer's instance: what is recorded, and what was observed and when."""

    slug: str
    state: TenantState
    plan: str
    region: str
    version: str
    """The tag of the product's image."""
    email: str
    """Empty once the tenant is deleted."""
    display_name: str
    """Empty once the tenant is deleted."""
    cluster: str
    """Empty until the tenant was placed, and after it was removed."""
    instance: str
    """What runs for the tenant: its namespace is `tenant-INSTANCE`. Empty after it was removed."""
    url: str
    """Where the tenant's users find it, on its cluster. Empty while it has none."""
    created_at: Moment
    changed_at: Moment
    state_since: Moment
    """Since when it has its state."""
    observed: Observed | None
    operation: str
    """The id of the operation that runs on it, or the last that ran."""
    quarantine_until: Moment | None
    """When the slug of a deleted tenant is free again."""
    links: TenantLinks

    @classmethod
    def of(cls, tenant: tenants.Tenant, registered: Iterable[clusters.Cluster], **more: Any) -> Self:
        """Return a tenant as callers see it.

        Args:
            tenant: The tenant.
            registered: The registered clusters: its address is on its own.
            more: The fields that a subclass adds.
        """
        hosts = (each.host(tenant.slug) for each in registered if each.name == tenant.cluster and each.gateway)
        observed = tenant.observed
        return cls(
            slug=tenant.slug,
            state=tenant.state,
            plan=tenant.plan,
            region=tenant.region,
            version=tenant.version,
            email=tenant.email,
            display_name=tenant.display_name,
            cluster=tenant.cluster,
            instance=tenant.instance,
            url=next((f"https://{host}" for host in hosts), ""),
            created_at=tenant.created_at,
            changed_at=tenant.changed_at,
            state_since=tenant.state_since,
            observed=observed and Observed(ready=observed.ready, message=observed.message, at=observed.at),
            operation=tenant.operation.id,
            quarantine_until=tenant.quarantine_until,
            links=TenantLinks(self=f"/api/tenants/{tenant.slug}", operation=f"/api/operations/{tenant.operation.id}"),
            **more,
        )


class Policy(_Response):
    """When a tenant counts as dormant: its plan's policy, with what was set for it alone."""

    idle_days: int
    """Days without activity after which it is hibernated."""
    never_active_days: int
    """Days of a new instance in which it is not hibernated."""
    exempt: bool
    """Whether it is never hibernated."""
    keep_awake_until: Moment | None
    overridden: tuple[str, ...]
    """The fields above that were set for this tenant."""

    @classmethod
    def of(cls, tenant: tenants.Tenant, in_effect: DormancyPolicy) -> Self:
        """Return the policy in effect for a tenant."""
        return cls(
            idle_days=in_effect.idle_days,
            never_active_days=in_effect.never_active_days,
            exempt=in_effect.exempt,
            keep_awake_until=in_effect.keep_awake_until,
            overridden=tenant.policy.parts,
        )


class Signal(_Response):
    """What one source knows of a tenant's activity."""

    source: str
    required: bool
    """Whether the tenant counts as idle only if this source has watched it all the time."""
    last_activity_at: Moment | None
    """Null if it has seen none."""
    age_seconds: float | None
    """Since then."""
    watched_since: Moment | None
    """From when on it has seen all activity, without a gap; null if it only reports some."""
    watched_until: Moment | None

    @classmethod
    def of(cls, signal: dormancy.Signal, now: datetime) -> Self:
        """Return a signal as callers see it."""
        last, watched = signal.last_activity_at, signal.watched
        return cls(
            source=signal.source,
            required=signal.required,
            last_activity_at=last,
            age_seconds=last and seconds_between(last, now),
            watched_since=watched and watched.since,
            watched_until=watched and watched.until,
        )


class Dormancy(_Response):
    """What is to happen to a tenant if nobody uses it, as decided now."""

    decision: Outcome
    reason: str
    last_activity_at: Moment | None
    """By any source."""
    threshold_days: int | None
    """The days of the policy that count."""
    due_at: Moment | None
    """When it is hibernated if nobody uses it until then; null if it never is."""
    next_due: Moment | None
    """When this is decided again if nothing happens until then."""

    @classmethod
    def of(cls, decision: dormancy.Decision) -> Self:
        """Return a decision as callers see it."""
        return cls(
            decision=decision.outcome,
            reason=decision.reason,
            last_activity_at=decision.last_activity_at,
            threshold_days=decision.threshold_days,
            due_at=decision.due_at,
            next_due=decision.next_due,
        )


class TenantDetail(Tenant):
    """One customer's instance, with what is known of its use."""

    policy: Policy | None
    """Null if the tenant's plan is not there any more."""
    activity: tuple[Signal, ...]
    """By source."""
    dormancy: Dormancy | None
    """Null if the tenant's plan is not there any more."""


class RecordedActivity(_Response):
    """What became of a report of activity."""

    tenant: str
    """The slug."""
    recorded: bool
    """False if activity of the same minutes is recorded already."""


class RejectedEntry(_Response):
    """An entry of a batch that was not recorded."""

    pointer: str
    detail: str


class RecordedBatch(_Response):
    """What became of a batch of reports. What is not rejected is recorded, or was already."""

    rejected: tuple[RejectedEntry, ...]

    @classmethod
    def of(cls, rejections: Sequence[Rejection]) -> Self:
        """Return the entries of a batch that were rejected."""
        return cls(
            rejected=tuple(RejectedEntry(pointer=f"/entries/{each.index}", detail=each.reason) for each in rejections)
        )


class AuditEntry(_Response):
    """One change of a tenant: who, what, why, and the state before and after it."""

    at: Moment
    actor: str
    """Who asked, by the header Berth-Actor."""
    action: str
    reason: str
    before: str
    """The tenant's state before; `none` for a new tenant."""
    after: str
    operation: str
    """The id of the operation that it was part of."""

    @classmethod
    def of(cls, entry: tenants.AuditEntry) -> Self:
        """Return an audit entry as callers see it."""
        return cls(
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            reason=entry.reason,
            before=entry.before,
            after=entry.after,
            operation=entry.operation_id,
        )


class Breaker(_Response):
    """A cluster's open breaker: it does not respond, and gets no new tenants until it does."""

    since: Moment
    reason: str


class Gateway(_Response):
    """The gateway that the routes of a cluster's tenants join."""

    namespace: str
    name: str
    listener: str
    """The one listener that they join; empty for every one that fits."""
    pods_namespace: str
    """Where the pods run that carry its traffic."""


class Cluster(_Response):
    """A registered cluster, without how to reach it.

    Capacity is in plan weights, a trial's being 1; a tenant that sleeps has none.
    """

    name: str
    region: str
    state: ClusterState
    domain: str
    """Under which its tenants have their addresses; empty in a registration of before there were routes."""
    gateway: Gateway | None
    capacity: int
    allocated: int
    free: int
    starting: int
    """Slots in use: tenants that are starting on it."""
    waiting: int
    """New tenants that are queued for one of its slots."""
    waking: int
    """Tenants that sleep and are queued to be woken, ahead of the new ones."""
    instances: int
    """Tenants that have a volume on it, awake or asleep."""
    max_instances: int | None
    """How many of these fit; null is no limit."""
    uid: str
    """The uid of its namespace kube-system, by which berth recognises it; empty if it is not known yet."""
    breaker: Breaker | None
    """Null while the cluster responds."""

    @classmethod
    def of(cls, cluster: clusters.Cluster) -> Self:
        """Return a cluster as operators see it."""
        return cls(
            name=cluster.name,
            region=cluster.region,
            state=cluster.state,
            domain=cluster.domain,
            gateway=cluster.gateway and Gateway(**asdict(cluster.gateway)),
            capacity=cluster.capacity,
            allocated=cluster.allocated,
            free=cluster.free,
            starting=cluster.starting,
            waiting=cluster.waiting,
            uid=cluster.uid,
            waking=cluster.waking,
            instances=cluster.instances,
            max_instances=cluster.max_instances,
            breaker=cluster.breaker and Breaker(since=cluster.breaker.since, reason=cluster.breaker.reason),
        )


class RegisteredCluster(Cluster):
    """A cluster that was just registered."""

    warnings: tuple[str, ...]
    """What it lacks although tenants are placed on it, each as a sentence."""

    @classmethod
    def registered(cls, cluster: clusters.Cluster, warnings: tuple[str, ...]) -> Self:
        """Return a cluster with what the probe found."""
        return cls(**dict(Cluster.of(cluster)), warnings=warnings)


class _Page[M: _Response](_Response):
    items: tuple[M, ...]
    next: str
    """Send it as the query's `next` for what follows; empty on the last page."""


class TenantPage(_Page[Tenant]):
    """A part of the list of tenants."""

    @classmethod
    def of(cls, page: stored.Page[tenants.Tenant], registered: Sequence[clusters.Cluster]) -> Self:
        """Return a page of tenants as callers see it."""
        return cls(items=tuple(Tenant.of(each, registered) for each in page.items), next=page.next_token)


class AuditPage(_Page[AuditEntry]):
    """A part of a tenant's changes, the newest first."""

    @classmethod
    def of(cls, page: stored.Page[tenants.AuditEntry]) -> Self:
        """Return a page of audit entries as callers see it."""
        return cls(items=tuple(AuditEntry.of(each) for each in page.items), next=page.next_token)


class Finding(_Response):
    """Something on a cluster that does not match the records, or the reverse."""

    kind: FindingKind
    """`orphan`: a namespace of no tenant's instance. `forgotten`: one that an operator has forgotten. `missing`: an
    active tenant's namespace is not there. `reservation`: one of no tenant. `volume`: it is left of a removed instance
    and not deleted; berth never deletes it. `skipped`: the cluster was not compared."""
    cluster: str
    subject: str
    """The instance, or the volume's name; empty for a whole cluster."""
    slug: str
    """The tenant that it was for; empty if that is not known."""
    state: FindingState
    """`open`: still so. `repaired`: berth removed or released it. `gone`: it ended without berth."""
    text: str
    first_seen: Moment
    last_seen: Moment
    ended_at: Moment | None
    """When it was repaired or gone."""

    @classmethod
    def of(cls, recorded: reconciliation.RecordedFinding) -> Self:
        """Return a finding as operators see it."""
        finding = recorded.finding
        return cls(
            kind=finding.kind,
            cluster=finding.cluster,
            subject=finding.subject,
            slug=finding.slug,
            state=recorded.state,
            text=finding.text,
            first_seen=recorded.first_seen,
            last_seen=recorded.last_seen,
            ended_at=recorded.ended_at,
        )


class FindingPage(_Page[Finding]):
    """A part of the findings, by kind, cluster and subject."""

    @classmethod
    def of(cls, page: stored.Page[reconciliation.RecordedFinding]) -> Self:
        """Return a page of findings as operators see it."""
        return cls(items=tuple(Finding.of(each) for each in page.items), next=page.next_token)


class SweepLinks(_Response):
    """Paths from a sweep."""

    self: str
    decisions: str


class Sweep(_Response):
    """One look at the tenants that are due, which puts the dormant ones to sleep."""

    id: str
    state: SweepState
    """`deciding` and `acting` while it runs. `refused`: something was wrong, and nobody was put to sleep, or nobody
    else."""
    reason: str
    """Why it was refused or stopped; else empty."""
    dry_run: bool
    actor: str
    """Who started it, by the header Berth-Actor; `timer` for the nightly one."""
    started_at: Moment
    updated_at: Moment
    """When it last did something."""
    ended_at: Moment | None
    looked_at: int
    """How many tenants it has decided on."""
    keep: int
    unknown: int
    """How many may not be put to sleep because it is not known whether they are used."""
    hibernate: int
    """How many look dormant."""
    to_do: int
    """How many of these are still to be put to sleep."""
    begun: int
    hibernated: int
    kept: int
    """How many of these stayed awake because something changed until it was their turn."""
    turned_round: int
    """How many were woken before they slept."""
    failed: int
    saves: float
    """US dollars a month that it saves, or would if it were no dry run."""
    links: SweepLinks

    @classmethod
    def of(cls, sweep: sweeps.Sweep) -> Self:
        """Return a sweep as operators see it."""
        outcomes, actions = sweep.outcomes, sweep.actions
        return cls(
            id=sweep.id,
            state=sweep.state,
            reason=sweep.reason,
            dry_run=sweep.start.dry_run,
            actor=sweep.start.actor,
            started_at=sweep.start.started_at,
            updated_at=sweep.heartbeat_at,
            ended_at=sweep.ended_at,
            looked_at=sum(outcomes.values()),
            keep=outcomes.get(Outcome.KEEP, 0),
            unknown=outcomes.get(Outcome.UNKNOWN, 0),
            hibernate=sweep.to_hibernate,
            to_do=actions.get(Action.PENDING, 0) if sweep.is_open else 0,
            begun=actions.get(Action.BEGUN, 0),
            hibernated=actions.get(Action.HIBERNATED, 0),
            kept=actions.get(Action.KEPT, 0),
            turned_round=actions.get(Action.TURNED_ROUND, 0),
            failed=actions.get(Action.FAILED, 0),
            saves=sweep.saves,
            links=SweepLinks(self=f"/api/sweeps/{sweep.id}", decisions=f"/api/sweeps/{sweep.id}/decisions"),
        )


class SweepPage(_Page[Sweep]):
    """A part of the sweeps, the newest first."""

    enabled: bool
    """Whether sweeps may put tenants to sleep, by BERTH_SWEEP_ENABLED and by the switch."""

    @classmethod
    def of(cls, page: stored.Page[sweeps.Sweep], *, enabled: bool) -> Self:
        """Return a page of sweeps as operators see it."""
        return cls(items=tuple(Sweep.of(each) for each in page.items), next=page.next_token, enabled=enabled)


class SweepDecision(_Response):
    """What a sweep decided about one tenant, why, and what was done."""

    tenant: str
    plan: str
    """Empty if the tenant could not be read."""
    outcome: Outcome
    reason: str
    decided_at: Moment
    last_activity_at: Moment | None
    """The last activity that any source saw."""
    seen_by: str
    """The source that saw it."""
    threshold_days: int | None
    """The days of its policy that count: those without activity, or those of a new instance."""
    due_at: Moment | None
    """When it is put to sleep if nobody uses it until then; null for never."""
    next_due: Moment | None
    """When a sweep looks at it again; null for the next one."""
    action: Action
    """`kept`: something changed until it was its turn. `turned-round`: it was woken before it slept."""
    note: str
    """Why that action, where it is not what was decided."""
    operation: str
    """The id of the operation that was begun, or empty."""
    saves: float
    """US dollars a month that its sleep saves, or would if it were no dry run."""

    @classmethod
    def of(cls, decision: sweeps.SweepDecision, *, ended: bool = False) -> Self:
        """Return a decision as operators see it: what was still to be done when the sweep ended is not done."""
        nothing = ended and decision.action is Action.PENDING
        return cls(
            tenant=decision.slug,
            plan=decision.plan,
            outcome=decision.outcome,
            reason=decision.reason,
            decided_at=decision.decided_at,
            last_activity_at=decision.last_activity_at,
            seen_by=decision.seen_by,
            threshold_days=decision.threshold_days,
            due_at=decision.due_at,
            next_due=decision.next_due,
            action=Action.NONE if nothing else decision.action,
            note=decision.note,
            operation=decision.operation_id,
            saves=decision.saves,
        )


class SweepDecisionPage(_Page[SweepDecision]):
    """A part of a sweep's decisions, by slug."""

    @classmethod
    def of(cls, page: stored.Page[sweeps.SweepDecision], *, ended: bool) -> Self:
        """Return a page of decisions of a sweep, which has ended or not, as operators see it."""
        return cls(items=tuple(SweepDecision.of(each, ended=ended) for each in page.items), next=page.next_token)


class SweepsEnabled(_Response):
    """Whether sweeps may put tenants to sleep, by BERTH_SWEEP_ENABLED and by the switch."""

    enabled: bool


class ClusterList(_Response):
    """All registered clusters."""

    items: tuple[Cluster, ...]


class Slug(_Response):
    """Whether a slug is free; never who has it."""

    slug: str
    free: bool
    reason: str
    """Why it is not free, as a sentence for the customer; else empty."""


class Health(_Response):
    """The process serves requests."""

    status: Literal["ok"]


class Readiness(_Response):
    """Whether berth can do its work, as of some seconds ago."""

    ready: bool


class Dependencies(_Response):
    """What berth depends on."""

    ready: bool
    """Tables and task hub respond, and so does a cluster, if any is registered."""
    checks: dict[str, str]
    """`ok` or what is wrong, for tables, task hub and each cluster."""


class InvalidField(_Response):
    """One error in a request."""

    pointer: str
    """A field of the body as a JSON pointer, `?NAME` for a parameter of the query, or the name of a header."""
    detail: str


class Problem(_Response):
    """A problem document (RFC 9457)."""

    type: str
    """Its kind, and the path of a page about it."""
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    """What happened and what to do."""
    instance: str
    """The path of the request."""
    errors: Annotated[tuple[InvalidField, ...], Field(exclude_if=lambda errors: not errors)]
    """The errors in a request that is not valid, or all that a cluster lacks."""

    @classmethod
    def of(cls, problem: problems.Problem, *, instance: str) -> Self:
        """Return a problem as its document; `instance` is the path of the request."""
        return cls(
            type=problem.kind.type,
            title=problem.kind.title,
            status=problem.kind.status,
            detail=problem.detail,
            instance=instance,
            errors=tuple(InvalidField(pointer=pointer, detail=text) for pointer, text in problem.errors),
        )
