"""What the use cases need from the outside world; the adapters implement it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from shared.domain.clusters import Cluster, Placement
from shared.domain.idempotency import Claim
from shared.domain.operations import Operation
from shared.domain.readiness import Observation
from shared.domain.tenants import AuditEntry, Tenant

type Manifest = Mapping[str, Any]
"""One Kubernetes object as JSON."""


@dataclass(frozen=True, slots=True)
class Stored[T]:
    """A value with the ETag of the row it was read from; an empty ETag means that no row may exist yet."""

    value: T
    etag: str = ""

    def with_value(self, value: T) -> "Stored[T]":
        """Return another value that is to replace this one's row."""
        return replace(self, value=value)


@dataclass(frozen=True, slots=True)
class Page[T]:
    """A part of a list; `next_token` is empty on the last page."""

    items: tuple[T, ...]
    next_token: str


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """Which tenants to list; an empty field lets all through."""

    state: str = ""
    plan: str = ""
    cluster: str = ""
    region: str = ""


class TenantRecords(Protocol):
    """The tenants, their operations and their audit trail."""

    async def get(self, slug: str) -> Stored[Tenant]:
        """Return a tenant; raises NotFound."""
        ...

    async def get_operation(self, operation_id: str) -> Operation:
        """Return an operation, running or ended; raises NotFound."""
        ...

    async def save(self, tenant: Stored[Tenant], audit: AuditEntry | None = None) -> Stored[Tenant]:
        """Write a tenant, with its operation and an audit entry, all or nothing.

        Raises Conflict when somebody else wrote the row since it was read, or when it exists and should not.
        """
        ...

    async def list(self, wanted: TenantFilter, *, limit: int, token: str) -> Page[Tenant]:
        """Return up to `limit` tenants in a stable order; raises ValueError for a token that is not ours."""
        ...

    def with_open_operation(self) -> AsyncIterator[Stored[Tenant]]:
        """Yield every tenant whose operation has not ended."""
        ...

    async def audit(self, slug: str, *, limit: int, token: str) -> Page[AuditEntry]:
        """Return a tenant's audit trail, newest first."""
        ...


class KeyRecords(Protocol):
    """The idempotency keys."""

    async def claim(self, claim: Claim, now: datetime) -> Claim:
        """Take a key, and return what it stands for: this claim, or an earlier one that has not expired."""
        ...

    async def purge(self, now: datetime) -> int:
        """Delete what has expired, and return how many keys those were."""
        ...


class LatencyRecords(Protocol):
    """How long operations took."""

    async def record(self, tenant: Tenant) -> None:
        """Keep the durations of a tenant's ended operation; writing it twice leaves one row."""
        ...


class ClusterRecords(Protocol):
    """The registered clusters and what is placed on them."""

    async def registered(self) -> Sequence[Cluster]:
        """Return all registrations, a few seconds old at most, without their allocation."""
        ...

    async def list(self) -> Sequence[Cluster]:
        """Return all clusters as they are now, with their allocation."""
        ...

    async def register(self, cluster: Cluster) -> Cluster:
        """Add a cluster or replace its registration, and return it with its allocation, which stays as it is."""
        ...

    async def get(self, name: str) -> Stored[Cluster]:
        """Return a cluster as it is now, with its allocation; raises NotFound."""
        ...

    async def save(self, cluster: Stored[Cluster]) -> None:
        """Write a registration in the place of the one that was read; raises Conflict if that is not there any more."""
        ...

    async def reserve(self, cluster: Cluster, slug: str, weight: int, at_once: int) -> Placement:
        """Give a tenant its place on a cluster where it is one of `at_once` that start; again changes nothing."""
        ...

    async def has_place(self, cluster: str, slug: str) -> bool:
        """Whether a tenant has its place on a cluster."""
        ...

    async def started(self, cluster: str, slug: str) -> None:
        """Say that a tenant with a place does not start any more; saying it again changes nothing."""
        ...

    async def release(self, cluster: str, slug: str) -> None:
        """Give a tenant's place back; releasing again changes nothing."""
        ...


class KubernetesCluster(Protocol):
    """One cluster's API server. Methods raise Transient for what may work later and Permanent for what was refused."""

    async def apply(self, objects: Sequence[Manifest]) -> None:
        """Server-side apply one tenant's objects; applying the same again changes nothing."""
        ...

    async def wait_until_ready(self, namespace: str, *, timeout: float) -> Observation:
        """Return what was last observed: ready, unable ever to start, or simply not ready after `timeout` seconds.

        Raises NotFound when somebody removed the namespace.
        """
        ...

    async def remove(self, namespace: str, *, timeout: float) -> None:
        """Remove a namespace with all in it and wait until it is gone; raises Transient if it is not by then."""
        ...

    async def check(self) -> None:
        """Return if the API server answers; raises Transient or Permanent."""
        ...


class Clusters(Protocol):
    """The way to each cluster."""

    async def connect(self, name: str) -> KubernetesCluster:
        """Return the pooled client of a registered cluster; raises NotFound."""
        ...


class TenantManifests(Protocol):
    """What a tenant is made of."""

    def render(self, tenant: Tenant) -> Sequence[Manifest]:
        """Return a tenant's objects; raises Permanent for a template that is wrong."""
        ...


class Workflows(Protocol):
    """The durable orchestrations."""

    async def start(self, operation: Operation) -> None:
        """Start the orchestration of an operation unless it is running; raises Transient."""
        ...

    async def is_running(self, operation_id: str) -> bool:
        """Whether the orchestration of an operation is pending or running; raises Transient."""
        ...

    async def terminate(self, operation_id: str) -> None:
        """End the orchestration of an operation, which itself stays open; raises Transient."""
        ...
