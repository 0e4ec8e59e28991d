"""The JSON of tenants, their policy, activity and audit trail."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Self

from functions.http.responses import Moment, Page, ResponseBody
from shared.application.ports import stored
from shared.application.record_activity import Rejection
from shared.domain import clusters, dormancy, tenants
from shared.domain.dormancy import Outcome
from shared.domain.lifecycle import TenantState
from shared.domain.operations import seconds_between
from shared.domain.policy import DormancyPolicy


class Observed(ResponseBody):
    """What the cluster last reported about a tenant's workload."""

    ready: bool
    message: str
    at: Moment


class TenantLinks(ResponseBody):
    """Paths from a tenant."""

    self: str
    operation: str


class Tenant(ResponseBody):
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


class Policy(ResponseBody):
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


class Signal(ResponseBody):
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


class Dormancy(ResponseBody):
    """What is to happen to a tenant if nobody uses it, as decided now."""

    decision: Outcome
    reason: str
    last_activity_at: Moment | None
    """By any source."""
    threshold_days: int | None
    """The days that count: of the policy, or the one after a visit that woke it."""
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


class RecordedActivity(ResponseBody):
    """What became of a report of activity."""

    tenant: str
    """The slug."""
    recorded: bool
    """False if activity of these minutes, or later, is recorded already."""


class RejectedEntry(ResponseBody):
    """An entry of a batch that was not recorded."""

    pointer: str
    detail: str


class RecordedBatch(ResponseBody):
    """What became of a batch of reports. What is not rejected is recorded, or was already."""

    rejected: tuple[RejectedEntry, ...]

    @classmethod
    def of(cls, rejections: Sequence[Rejection]) -> Self:
        """Return the entries of a batch that were rejected."""
        return cls(
            rejected=tuple(RejectedEntry(pointer=f"/entries/{each.index}", detail=each.reason) for each in rejections)
        )


class AuditEntry(ResponseBody):
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


class TenantPage(Page[Tenant]):
    """A part of the list of tenants."""

    @classmethod
    def of(cls, page: stored.Page[tenants.Tenant], registered: Sequence[clusters.Cluster]) -> Self:
        """Return a page of tenants as callers see it."""
        return cls(items=tuple(Tenant.of(each, registered) for each in page.items), next=page.next_token)


class AuditPage(Page[AuditEntry]):
    """A part of a tenant's changes, the newest first."""

    @classmethod
    def of(cls, page: stored.Page[tenants.AuditEntry]) -> Self:
        """Return a page of audit entries as callers see it."""
        return cls(items=tuple(AuditEntry.of(each) for each in page.items), next=page.next_token)
