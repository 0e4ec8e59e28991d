"""The JSON of clusters, and of what reconciliation has found on them."""

from dataclasses import asdict
from typing import Self

from functions.http.responses import Moment, Page, ResponseBody
from shared.application.ports import stored
from shared.domain import clusters, reconciliation
from shared.domain.clusters import ClusterState
from shared.domain.reconciliation import FindingKind, FindingState


class Breaker(ResponseBody):
    """A cluster's open breaker: it does not respond, and gets no new tenants until it does."""

    since: Moment
    reason: str


class Gateway(ResponseBody):
    """The gateway that the routes of a cluster's tenants join."""

    namespace: str
    name: str
    listener: str
    """The one listener that they join; empty for every one that fits."""
    pods_namespace: str
    """Where the pods run that carry its traffic."""


class Cluster(ResponseBody):
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
    """The uid of its namespace kube-system, by which berth recognises it."""
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


class Probe(ResponseBody):
    """What was just found on a registered cluster, each as a sentence."""

    cluster: str
    uid: str
    """The uid of its namespace kube-system; empty if that could not be read."""
    missing: tuple[str, ...]
    """What keeps it from being registered."""
    gateway_problems: tuple[str, ...]
    """What keeps tenants' routes from its gateway."""
    warnings: tuple[str, ...]
    """What it lacks although tenants are placed on it."""

    @classmethod
    def of(cls, name: clusters.ClusterName, probe: clusters.Probe) -> Self:
        """Return a probe as operators see it."""
        return cls(cluster=name, **asdict(probe))


class ClusterList(ResponseBody):
    """All registered clusters."""

    items: tuple[Cluster, ...]


class Finding(ResponseBody):
    """Something on a cluster that does not match the records, or the reverse."""

    kind: FindingKind
    """`orphan`: a namespace of no tenant's instance. `forgotten`: one that an operator has forgotten. `missing`: the
    namespace of a tenant, active or asleep, is not there. `stopped`: an active tenant has a workload without pods.
    `route`: an active tenant has no route. `running`: a tenant that sleeps has pods or a route. `reservation`: it is of
    no tenant, or not as its tenant's state asks. `volume`: it is left of a removed instance and not deleted; berth
    never deletes it. `skipped`: the cluster was not compared."""
    cluster: str
    subject: str
    """The instance, or the volume's name; empty for a whole cluster."""
    slug: str
    """The tenant that it was for; empty if that is not known."""
    state: FindingState
    """`open`: still so. `repaired`: by berth. `gone`: it ended without berth."""
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


class FindingPage(Page[Finding]):
    """A part of the findings, by kind, cluster and subject."""

    @classmethod
    def of(cls, page: stored.Page[reconciliation.RecordedFinding]) -> Self:
        """Return a page of findings as operators see it."""
        return cls(items=tuple(Finding.of(each) for each in page.items), next=page.next_token)
