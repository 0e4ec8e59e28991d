"""Reconciliation: compares what is on the clusters with the records, both ways, without I/O."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from shared.domain.clusters import ClusterName
from shared.domain.instances import InstanceId, namespace_name
from shared.domain.lifecycle import TenantState
from shared.domain.operations import age, slug_of
from shared.domain.placement import Reservation, ReservationState
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant

UNKNOWN = Slug("")
MAX_REPAIRS = 20  # of one run on one cluster: more than that mean that something else is wrong
MIN_AGE_SECONDS = 3600.0  # of what is compared: longer than any operation takes between two of its writes
REPAIR_AFTER_SECONDS = 3540.0  # between two findings of an hourly timer, which does not start on the second


@dataclass(frozen=True, slots=True)
class FoundNamespace:
    """A namespace of this berth on a cluster, as its labels describe it."""

    instance: InstanceId
    slug: Slug
    created_at: datetime
    is_being_removed: bool


@dataclass(frozen=True, slots=True)
class RemovedNamespaces:
    """The namespaces of this berth that were removed, or began to be, since a position in a cluster's history.

    `position` is where to continue. `is_complete` is False if what happened since was not kept, or no position was
    given: then nothing is known of it.
    """

    found: Sequence[FoundNamespace]
    position: str
    is_complete: bool


@dataclass(frozen=True, slots=True)
class FoundWorkload:
    """A workload of an instance on a cluster, and how many pods it is set to have."""

    instance: InstanceId
    replicas: int


@dataclass(frozen=True, slots=True)
class LeftVolume:
    """A volume that nothing uses any more and that is not deleted. `since` is the time of its last change of phase."""

    name: str
    instance: InstanceId
    phase: str
    since: datetime


class FindingKind(StrEnum):
    """What does not match."""

    ORPHAN = "orphan"
    FORGOTTEN = "forgotten"
    MISSING = "missing"
    STOPPED = "stopped"
    RUNNING = "running"
    ROUTE = "route"
    RESERVATION = "reservation"
    VOLUME = "volume"
    SKIPPED = "skipped"

    @property
    def is_repaired(self) -> bool:
        """Whether reconciliation itself repairs it; all others are reported only, or left to other timers."""
        return self.is_limited or self is FindingKind.FORGOTTEN

    @property
    def is_limited(self) -> bool:
        """Whether many of them at once mean that something else is wrong, so that none is repaired."""
        return self in (FindingKind.ORPHAN, FindingKind.RESERVATION) or self.is_of_instance

    @property
    def is_of_instance(self) -> bool:
        """Whether the pods or the route of a tenant's instance are not as its state asks.

        That is repaired at the first finding: nothing is removed by it, and the tenant has been at rest for an hour.
        """
        return self in (FindingKind.STOPPED, FindingKind.RUNNING, FindingKind.ROUTE)


class FindingState(StrEnum):
    """Whether it is still so, was repaired by berth, or is gone without it."""

    OPEN = "open"
    REPAIRED = "repaired"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not match.

    `subject` is the instance or the volume that it is about, or empty for a whole cluster; `slug` is the tenant by
    which it can be checked again, if it is known.
    """

    kind: FindingKind
    cluster: ClusterName
    subject: str
    text: str
    slug: Slug = UNKNOWN

    @property
    def instance(self) -> InstanceId:
        """The instance that it is about."""
        return InstanceId(self.subject)


@dataclass(frozen=True, slots=True)
class RecordedFinding:
    """A finding with the times at which runs saw it first and last; `ended_at` is when it was repaired or gone."""

    finding: Finding
    state: FindingState
    first_seen: datetime
    last_seen: datetime
    ended_at: datetime | None = None

    def seen_again(self, finding: Finding, now: datetime) -> "RecordedFinding":
        """Return what is recorded when a run finds the same."""
        return replace(self, finding=finding, last_seen=now)

    def ended(self, state: FindingState, now: datetime) -> "RecordedFinding":
        """Return what is recorded when it was repaired, or when a run does not find it any more."""
        return replace(self, state=state, ended_at=now)

    def may_be_repaired(self, now: datetime) -> bool:
        """Whether it is repaired at once, or was found before, long enough ago."""
        kind = self.finding.kind
        return kind.is_of_instance or (kind.is_repaired and age(self.first_seen, now) >= REPAIR_AFTER_SECONDS)


def first_seen(finding: Finding, now: datetime) -> RecordedFinding:
    """Return what is recorded of a new finding."""
    return RecordedFinding(finding, FindingState.OPEN, now, now)


@dataclass(frozen=True, slots=True)
class ClusterContents:
    """What one cluster has, and its reservations. It must be read before the tenants are.

    Whatever it shows was then recorded before, so that it is never taken for something without a tenant. `at` is the
    cluster's own time right before: berth's clock may differ from that by which the namespaces and volumes are dated.
    `routes` are the instances that have one, or None on a cluster that is registered without a gateway.
    """

    cluster: ClusterName
    at: datetime
    namespaces: Sequence[FoundNamespace]
    workloads: Sequence[FoundWorkload]
    routes: Collection[InstanceId] | None
    volumes: Sequence[LeftVolume]
    reservations: Sequence[Reservation]


def forgotten(cluster: ClusterName, instance: InstanceId, slug: Slug) -> Finding:
    """Return the finding that an operator has forgotten an instance, of which something may be left."""
    text = f"the namespace {namespace_name(instance)} is of an instance that an operator has forgotten"
    return Finding(FindingKind.FORGOTTEN, cluster, instance, text, slug)


def compare(
    contents: ClusterContents,
    tenants: Mapping[InstanceId, Tenant],
    forgotten_instances: Collection[InstanceId],
    now: datetime,
) -> Iterator[Finding]:
    """Yield what does not match on one cluster; what is younger than an hour is left alone.

    Args:
        contents: What the cluster has.
        tenants: All tenants that have an instance, by its id, read after the contents.
        forgotten_instances: The instances that operators have forgotten.
        now: The time at which the contents were read, by berth's clock.
    """
    yield from _of_no_tenant(contents, tenants, forgotten_instances, now)
    here = {
        instance: tenant
        for instance, tenant in tenants.items()
        if tenant.cluster == contents.cluster and is_settled(tenant, now)
    }
    there = {each.instance for each in contents.namespaces if not each.is_being_removed}
    for instance in here.keys() - there:
        tenant = here[instance]
        text = f"the namespace {namespace_name(instance)} of the {tenant.state} tenant {tenant.slug} is missing"
        yield Finding(FindingKind.MISSING, contents.cluster, instance, text, tenant.slug)
    reserved = {each.instance: each for each in contents.reservations}
    for instance, tenant in here.items():
        problem = reservation_problem(tenant, reserved.get(instance))
        if problem:
            text = f"the {tenant.state} tenant {tenant.slug} {problem}"
            yield Finding(FindingKind.RESERVATION, contents.cluster, instance, text, tenant.slug)
    yield from _of_instances(contents, {instance: here[instance] for instance in here.keys() & there})


def _of_no_tenant(
    contents: ClusterContents,
    tenants: Mapping[InstanceId, Tenant],
    forgotten_instances: Collection[InstanceId],
    now: datetime,
) -> Iterator[Finding]:
    cluster = contents.cluster
    known = tenants.keys() | {each.instance for each in contents.reservations}
    for each in contents.namespaces:
        if each.instance in known or not _is_old(each.created_at, contents.at):
            continue
        if each.instance in forgotten_instances:
            yield forgotten(cluster, each.instance, each.slug)
        else:
            text = f"the namespace {namespace_name(each.instance)} is of no tenant's instance"
            yield Finding(FindingKind.ORPHAN, cluster, each.instance, text, each.slug)
    for each in contents.reservations:
        # Slot repair takes care of those that are pending.
        if not each.state.is_pending and each.instance not in tenants and _is_old(each.since, now):
            text = f"the reservation of the instance {each.instance} is of no tenant"
            yield Finding(FindingKind.RESERVATION, cluster, each.instance, text, slug_of(each.operation_id))
    present = {each.instance for each in contents.namespaces}
    for each in contents.volumes:
        if each.instance not in known | present and _is_old(each.since, contents.at):
            text = f"the volume {each.name} of the former instance {each.instance} is {each.phase} and not deleted"
            yield Finding(FindingKind.VOLUME, cluster, each.name, text)


def _of_instances(contents: ClusterContents, tenants: Mapping[InstanceId, Tenant]) -> Iterator[Finding]:
    """Yield which of these tenants, all at rest, have pods or a route against their state.

    More pods than the templates say are nobody's mistake: operators may scale a tenant.
    """
    running = {each.instance for each in contents.workloads if each.replicas}
    stopped = {each.instance for each in contents.workloads if not each.replicas}
    for instance, tenant in tenants.items():
        has_route = contents.routes is not None and instance in contents.routes
        if tenant.state is TenantState.ACTIVE and (instance in stopped or instance not in running):
            text = f"the active tenant {tenant.slug} has a workload without pods"
            yield Finding(FindingKind.STOPPED, contents.cluster, instance, text, tenant.slug)
        elif tenant.state is TenantState.ACTIVE and contents.routes is not None and not has_route:
            text = f"the active tenant {tenant.slug} has no route"
            yield Finding(FindingKind.ROUTE, contents.cluster, instance, text, tenant.slug)
        elif tenant.state is TenantState.HIBERNATED and (instance in running or has_route):
            has = " and ".join(name for name, has in (("pods", instance in running), ("a route", has_route)) if has)
            text = f"the tenant {tenant.slug} sleeps, and has {has}"
            yield Finding(FindingKind.RUNNING, contents.cluster, instance, text, tenant.slug)


def reservation_problem(tenant: Tenant, reservation: Reservation | None) -> str:
    """Return, in words, in what a reservation disagrees with its tenant, which is at rest; or nothing.

    One that is pending is left to slot repair.
    """
    if reservation is None:
        return "has no reservation"
    match tenant.state, reservation.state:
        case TenantState.ACTIVE, ReservationState.ASLEEP:
            return "has no share of the capacity"
        case TenantState.HIBERNATED, ReservationState.HELD:
            return "has its share of the capacity still"
        case _:
            return ""


def is_settled(tenant: Tenant, now: datetime) -> bool:
    """Whether a tenant has been active, or asleep, for an hour, and no operation changes that."""
    return tenant.state.has_instance and not tenant.operation.is_open and _is_old(tenant.changed_at, now)


def _is_old(since: datetime, now: datetime) -> bool:
    return age(since, now) >= MIN_AGE_SECONDS
