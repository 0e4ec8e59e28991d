"""Kubernetes in memory: namespaces with objects, and a pod for each workload that behaves as its image's tag says.

The tags are those of the local cluster: `missing-...` has no image, `crash-...` crashes, `never-ready-...` never
answers its probe, `slow-...` is late; any other becomes ready. Two more: `node-SECONDS` waits for a node that the
autoscaler adds, `denied-SECONDS` for a registry that denies its image so long. Waiting moves the fake clock.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from secrets import token_hex
from typing import Any
from uuid import uuid4

from local.gateway.process import NAME, NAMESPACE
from shared.adapters.kubernetes.ownership import INSTANCE, OWNER, SLUG, ensure_all_ours, ensure_ours
from shared.application.ports.clusters import ClusterRepository, KubernetesCluster, Manifest, RecordKept
from shared.application.registered_cluster import RegisteredCluster
from shared.domain.clusters import (
    AzureAccess,
    Cluster,
    ClusterAccess,
    ClusterName,
    GatewayRef,
    KubeconfigAccess,
    Probe,
)
from shared.domain.instances import NAMESPACE_PREFIX, InstanceId, namespace_name
from shared.domain.pod_status import PodStatus
from shared.domain.reconciliation import FoundNamespace, LeftVolume, RemovedNamespaces
from shared.domain.routes import KIND as ROUTE
from shared.domain.routes import ROUTE_NAME, RouteStatus
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.domain.workloads import KIND, Workload, status_of
from shared.errors import BerthError, NotFound, Permanent, Transient, WrongRegistration
from shared.time_budget import time_left
from tests.support.builders import TENANT_SETTINGS
from tests.support.clock import FakeClock
from tests.support.faults import Faults

KINDS = {
    *("Namespace", "ServiceAccount", "ResourceQuota", "LimitRange", "Secret", "ConfigMap", "PersistentVolumeClaim"),
    *("Service", "StatefulSet", "NetworkPolicy"),
}
CRASH_LIMIT = 3
OBJECTS = 6
"""How many objects of a tenant the fake templates make, without its route."""

_NOT_FOUND = {"reason": "ErrImagePull", "message": "the registry responded: manifest unknown: not found"}
_WAITING: Mapping[str, Mapping[str, Any]] = {
    "missing": {"state": {"waiting": _NOT_FOUND}},
    "denied": {"state": {"waiting": {"reason": "ErrImagePull", "message": "401 Unauthorized"}}},
    "crash": {
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"reason": "Error", "exitCode": 1}},
        "restartCount": CRASH_LIMIT,
    },
}


@dataclass(slots=True)
class FakeNamespace:
    """One namespace.

    `held` keeps it from being removed, as a finalizer does, and `stuck` its pods from stopping, as a lost node does;
    `claims` are the ids of its volume claims by name; `pods` are of others.
    """

    created_at: datetime
    objects: dict[tuple[str, str], Manifest] = field(default_factory=dict[tuple[str, str], Manifest])
    workload_at: float = 0.0
    held: bool = False
    stuck: bool = False
    stopped_at: float = float("-inf")
    claims: dict[str, str] = field(default_factory=dict[str, str])
    pods: list[Manifest] = field(default_factory=list[Manifest])

    @property
    def manifest(self) -> Manifest:
        """The namespace itself."""
        return next(manifest for (kind, _), manifest in self.objects.items() if kind == "Namespace")

    @property
    def tag(self) -> str:
        """The tag of the workload's image, or an empty string without a workload that has pods."""
        for (kind, _), manifest in self.objects.items():
            if kind == KIND and replicas_of(manifest):
                return str(manifest["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]
        return ""


def replicas_of(manifest: Manifest) -> int:
    """Return how many pods a workload is to have."""
    return manifest["spec"].get("replicas", 1)


class FakeCluster:
    """Implements `shared.application.ports.clusters.KubernetesCluster`.

    Args:
        clock: What waiting moves.
        ready_seconds: How long a workload takes to become ready.
        slow_seconds: The same for one whose tag begins with `slow`.

    Attributes:
        namespaces: What is there, by name. Take one out, and it was removed by hand.
        volumes: What is left of removed claims.
        retained: The volume that stays when a namespace is removed, by namespace.
        away: The error that every call fails with, or None.
        kept_removals: How many of the last removals it remembers.
        identity: Its uid.
        missing: What a probe says that it lacks.
        warnings: What else a probe says.
        gateway: What the gateway makes of every route.
        gateway_name: The one gateway that is there, as NAMESPACE/NAME.
        stop_seconds: How long pods take to stop.
    """

    def __init__(self, clock: FakeClock, *, ready_seconds: float = 2.0, slow_seconds: float = 60.0) -> None:
        self.namespaces: dict[str, FakeNamespace] = {}
        self.volumes: list[LeftVolume] = []
        self.retained: dict[str, str] = {}
        self.away: BerthError | None = None
        self.kept_removals = 1000
        self.stop_seconds = 1.0
        self._known: dict[str, FoundNamespace] = {}
        self._removals: list[FoundNamespace] = []
        self.identity = str(uuid4())
        self.missing: tuple[str, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self.gateway = RouteStatus(True)
        self.gateway_name = f"{NAMESPACE}/{NAME}"
        self._clock = clock
        self._owner = TENANT_SETTINGS.owner
        self._ready_seconds = ready_seconds
        self._slow_seconds = slow_seconds

    async def apply(self, objects: Sequence[Manifest], *, is_new: bool = True) -> None:
        """Apply objects; applying the same again changes nothing."""
        await self._answer()
        for each in objects:
            if each["kind"] not in KINDS:
                raise Permanent(f"berth does not apply the kinds {each['kind']}")
        ensure_all_ours(objects, self._owner)
        for each in objects:
            kind, metadata = each["kind"], each["metadata"]
            name = metadata["name"] if kind == "Namespace" else metadata["namespace"]
            if name in self.namespaces:
                found = self.namespaces[name].objects.get((kind, metadata["name"]))
                if found is not None:
                    ensure_ours(found, self._owner, kind)
            elif kind != "Namespace" or not is_new:
                raise NotFound(f"there is no namespace {name}")
            namespace = self.namespaces.setdefault(name, FakeNamespace(self._clock.now()))
            if not namespace.tag:
                namespace.workload_at = self._clock.monotonic()
            namespace.objects[kind, metadata["name"]] = each
            if kind == "PersistentVolumeClaim":
                namespace.claims.setdefault(metadata["name"], token_hex(8))
        self._known |= {namespace_name(each.instance): each for each in self._found()}

    async def wait_until_ready(self, namespace: str, workloads: Sequence[Workload], *, timeout: float) -> PodStatus:
        """Return the status as soon as all are ready or one cannot be, else the one after `timeout` seconds."""
        await self._answer()
        held = self.namespaces.get(namespace)
        if held is None:
            self._clock.advance(timeout)  # no pod is seen for so long; only then is the namespace looked for
            raise NotFound(f"there is no namespace {namespace}")
        if not self._status(held, workloads).permanent:
            left = self._ready_at(held) - self._clock.monotonic()
            self._clock.advance(min(timeout, max(0.0, left)))
        return self._status(held, workloads)

    async def replicas(self, namespace: str) -> Mapping[str, int]:
        """Return how many pods each workload in a namespace is to have."""
        objects = (await self._existing(namespace)).objects
        return {name: replicas_of(manifest) for (kind, name), manifest in objects.items() if kind == KIND}

    async def stop(self, namespace: str) -> None:
        """Let the workloads in a namespace have no pods."""
        held = await self._existing(namespace)
        for key, manifest in held.objects.items():
            if key[0] == KIND and replicas_of(manifest):
                held.objects[key] = {**manifest, "spec": {**manifest["spec"], "replicas": 0}}
                held.stopped_at = self._clock.monotonic()

    async def wait_until_stopped(self, namespace: str, *, timeout: float) -> str:
        """Return nothing as soon as no workload has a pod, or in words what is left after `timeout` seconds."""
        await self._answer()
        held = self.namespaces.get(namespace)
        if held is None:
            return ""
        left = held.stopped_at + self.stop_seconds - self._clock.monotonic()
        if held.tag or held.stuck or left > timeout:
            self._clock.advance(timeout)
            return "its pod product-0 on node-0 has not stopped; is the node there?"
        self._clock.advance(max(0.0, left))
        return ""

    async def _existing(self, namespace: str) -> FakeNamespace:
        await self._answer()
        if namespace not in self.namespaces:
            raise NotFound(f"there is no namespace {namespace}")
        return self.namespaces[namespace]

    async def open_route(self, route: Manifest, *, timeout: float) -> RouteStatus:
        """Apply a route; the gateway serves it at once, unless it refuses it or its Service is not there."""
        await self._answer()
        namespace = route["metadata"]["namespace"]
        held = self.namespaces.get(namespace)
        if held is None:
            raise Transient(f"the route cannot be made: there is no namespace {namespace}")
        held.objects[ROUTE, ROUTE_NAME] = route
        if self.gateway.serving and ("Service", "product") in held.objects:
            return self.gateway
        self._clock.advance(timeout)
        if not self.gateway.serving:
            return self.gateway
        reason = "BackendNotFound"
        return RouteStatus(False, reason, f"the gateway cannot serve the tenant's route: {reason}", refused=True)

    async def close_route(self, namespace: str) -> None:
        """Delete the route in a namespace, if there is one."""
        await self._answer()
        if namespace in self.namespaces:
            self.namespaces[namespace].objects.pop((ROUTE, ROUTE_NAME), None)

    async def remove(self, namespace: str, *, timeout: float, record_kept: RecordKept | None = None) -> None:
        """Remove a namespace with all in it; raises Transient if something holds it."""
        await self._answer()
        held = self.namespaces.get(namespace)
        if held is not None:
            ensure_ours(held.manifest, self._owner)
            for (kind, claim), manifest in held.objects.items():
                if kind == "PersistentVolumeClaim" and INSTANCE not in manifest["metadata"].get("labels", {}):
                    raise Permanent(f"the volume claim {claim} in the namespace {namespace} is not the instance's")
            held.objects.pop((ROUTE, ROUTE_NAME), None)
            if record_kept is not None:
                await record_kept([self.retained[namespace]] if namespace in self.retained else [])
        if held is not None and held.held:
            self._clock.advance(timeout)
            raise Transient(f"the namespace {namespace} is still being removed: it is held")
        if self.namespaces.pop(namespace, None) is not None and namespace in self.retained:
            instance = InstanceId(namespace.removeprefix(NAMESPACE_PREFIX))
            self.volumes.append(LeftVolume(self.retained[namespace], instance, "Released", self._clock.now()))

    async def tenant_namespaces(self) -> Sequence[FoundNamespace]:
        """Return the namespaces of this berth's instances."""
        await self._answer()
        return self._found()

    async def has_namespace(self, namespace: str) -> bool:
        """Whether a namespace is there and not being removed."""
        await self._answer()
        return namespace in self.namespaces

    async def removed_namespaces(self, position: str) -> RemovedNamespaces:
        """Return which namespaces of this berth were removed since a position, or for none only where to begin."""
        await self._answer()
        for name in self._known.keys() - {namespace_name(each.instance) for each in self._found()}:
            self._removals.append(replace(self._known.pop(name), is_being_removed=True))
        count = len(self._removals)
        if not position or not 0 <= count - int(position) <= self.kept_removals:
            return RemovedNamespaces((), str(count), is_complete=False)
        return RemovedNamespaces(tuple(self._removals[int(position) :]), str(count), is_complete=True)

    def _found(self) -> list[FoundNamespace]:
        found: list[FoundNamespace] = []
        for name, namespace in self.namespaces.items():
            labels = namespace.manifest["metadata"]["labels"]
            if labels.get(OWNER) == self._owner and name == f"{NAMESPACE_PREFIX}{labels.get(INSTANCE)}":
                instance, slug = InstanceId(labels[INSTANCE]), Slug(labels.get(SLUG, ""))
                found.append(FoundNamespace(instance, slug, namespace.created_at, is_being_removed=False))
        return found

    async def left_volumes(self) -> Sequence[LeftVolume]:
        """Return the volumes that were an instance's and are neither used nor deleted."""
        await self._answer()
        return list(self.volumes)

    async def uid(self) -> str:
        """Return its uid."""
        return await self.check()

    async def check(self) -> str:
        """Return its uid if it answers."""
        await self._answer()
        return self.identity

    async def probe(self, gateway: GatewayRef, domain: str) -> Probe:
        """Return what it lacks."""
        given = f"{gateway.namespace}/{gateway.name}"
        missing = () if given == self.gateway_name else (f"there is no gateway {given}",)
        return Probe(await self.uid(), (*self.missing, *missing), self.warnings)

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.away is not None:
            raise self.away

    def _ready_at(self, namespace: FakeNamespace) -> float:
        kind = namespace.tag.split("-", 1)[0]
        if kind in ("node", "denied"):
            return namespace.workload_at + float(namespace.tag.split("-")[1])
        seconds = {"never": float("inf"), "slow": self._slow_seconds, "": float("inf")}.get(kind, self._ready_seconds)
        return namespace.workload_at + seconds

    def _status(self, namespace: FakeNamespace, workloads: Sequence[Workload]) -> PodStatus:
        tag = namespace.tag
        kind = tag.split("-", 1)[0]
        ready = self._clock.monotonic() >= self._ready_at(namespace) and kind not in ("missing", "crash")
        status: dict[str, Any] = {"phase": "Running" if ready or kind == "never" else "Pending"}
        if kind in _WAITING and not ready:
            status["containerStatuses"] = [{"name": "product", "image": f"product:{tag}", **_WAITING[kind]}]
        if ready:
            status["conditions"] = [{"type": "Ready", "status": "True"}]
        if kind == "node" and not ready:
            status["conditions"] = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
        pods = [
            {"metadata": {"ownerReferences": [{"kind": KIND, "name": name, "controller": True}]}, "status": status}
            for (kind, name), manifest in namespace.objects.items()
            if kind == KIND
            for _ in range(replicas_of(manifest))
        ]
        found = status_of([*pods, *namespace.pods], workloads, now=self._clock.now(), crash_limit=CRASH_LIMIT)
        return replace(found, adding_node=kind == "node" and not ready)


class FaultyCluster:
    """Implements `shared.application.ports.clusters.KubernetesCluster` on another one, with one worker's faults.

    As the real one does, it sends nothing when the time budget is over, except `check`.
    """

    def __init__(self, cluster: KubernetesCluster, faults: Faults) -> None:
        self._cluster = cluster
        self._faults = faults

    async def apply(self, objects: Sequence[Manifest], *, is_new: bool = True) -> None:
        """Apply objects."""
        await self._request("apply", lambda: self._cluster.apply(objects, is_new=is_new))

    async def wait_until_ready(self, namespace: str, workloads: Sequence[Workload], *, timeout: float) -> PodStatus:
        """Return the status of a namespace's workloads."""
        return await self._request(
            "wait_until_ready", lambda: self._cluster.wait_until_ready(namespace, workloads, timeout=timeout)
        )

    async def replicas(self, namespace: str) -> Mapping[str, int]:
        """Return how many pods each workload is to have."""
        return await self._request("replicas", lambda: self._cluster.replicas(namespace))

    async def stop(self, namespace: str) -> None:
        """Let the workloads have no pods."""
        await self._request("stop", lambda: self._cluster.stop(namespace))

    async def wait_until_stopped(self, namespace: str, *, timeout: float) -> str:
        """Return what is left of the pods."""
        return await self._request(
            "wait_until_stopped", lambda: self._cluster.wait_until_stopped(namespace, timeout=timeout)
        )

    async def open_route(self, route: Manifest, *, timeout: float) -> RouteStatus:
        """Apply a route."""
        return await self._request("open_route", lambda: self._cluster.open_route(route, timeout=timeout))

    async def close_route(self, namespace: str) -> None:
        """Delete a route."""
        await self._request("close_route", lambda: self._cluster.close_route(namespace))

    async def remove(self, namespace: str, *, timeout: float, record_kept: RecordKept | None = None) -> None:
        """Remove a namespace."""
        await self._request("remove", lambda: self._cluster.remove(namespace, timeout=timeout, record_kept=record_kept))

    async def tenant_namespaces(self) -> Sequence[FoundNamespace]:
        """Return the namespaces of this berth's instances."""
        return await self._request("tenant namespaces", self._cluster.tenant_namespaces)

    async def has_namespace(self, namespace: str) -> bool:
        """Whether a namespace is there."""
        return await self._request("has namespace", lambda: self._cluster.has_namespace(namespace))

    async def removed_namespaces(self, position: str) -> RemovedNamespaces:
        """Return which namespaces were removed."""
        return await self._request("removed namespaces", lambda: self._cluster.removed_namespaces(position))

    async def left_volumes(self) -> Sequence[LeftVolume]:
        """Return the volumes that nothing uses any more."""
        return await self._request("left volumes", self._cluster.left_volumes)

    async def uid(self) -> str:
        """Return its uid."""
        return await self._request("uid", self._cluster.uid)

    async def check(self) -> str:
        """Return its uid if it answers."""
        return await self._faults.call("check", self._cluster.check)

    async def _request[T](self, name: str, attempt: Callable[[], Awaitable[T]]) -> T:
        if time_left() <= 0:
            raise Transient("no time is left for it")
        return await self._faults.call(name, attempt)


class FakeConnections:
    """Implements `shared.application.ports.clusters.ClusterConnections` for one worker.

    A kubeconfig context leads to the cluster of that name, and so does the first label of a server's address.
    """

    def __init__(
        self, repository: ClusterRepository, clusters: Mapping[ClusterName, FakeCluster], faults: Faults
    ) -> None:
        self._repository = repository
        self._clusters = clusters
        self._faults = faults
        self._registered: dict[ClusterName, RegisteredCluster] = {}

    async def connect(self, name: ClusterName) -> RegisteredCluster:
        """Return the client of a registered cluster; raises NotFound."""
        registration = await self._repository.registration(name)
        held = self._registered.get(name)
        if held is None or not held.is_for(registration):
            held = self._registered[name] = RegisteredCluster(registration, self._open, self._repository)
        return held

    async def probe(self, access: ClusterAccess, gateway: GatewayRef, domain: str) -> Probe:
        """Return what a cluster lacks."""
        return await self._faults.call("probe", lambda: self._find(access).probe(gateway, domain))

    async def _open(self, access: ClusterAccess) -> KubernetesCluster:
        return FaultyCluster(self._find(access), self._faults)

    def _find(self, access: ClusterAccess) -> FakeCluster:
        match access:
            case KubeconfigAccess(context):
                name = context
            case AzureAccess(server, _):
                name = server.removeprefix("https://").partition(".")[0]
        if name not in self._clusters:
            raise WrongRegistration(f"there is no cluster {name}")
        return self._clusters[ClusterName(name)]


class FakeTemplates:
    """Implements `shared.application.ports.clusters.TenantTemplates` with some objects and a route for each tenant."""

    def __init__(self) -> None:
        self.error: Permanent | None = None

    def render(self, tenant: Tenant, cluster: Cluster) -> Sequence[Manifest]:
        """Return a tenant's objects; raises Permanent on demand."""
        if self.error is not None:
            raise self.error
        namespace = namespace_name(tenant.instance)
        labels = {OWNER: TENANT_SETTINGS.owner, INSTANCE: tenant.instance, SLUG: tenant.slug}
        pod = {"containers": [{"name": "product", "image": f"product:{tenant.version}"}]}
        return [
            {"kind": "Namespace", "metadata": {"name": namespace, "labels": labels}},
            {"kind": "ConfigMap", "metadata": {"name": "tenant", "namespace": namespace, "labels": labels}},
            {
                "kind": "Secret",
                "metadata": {"name": "tenant", "namespace": namespace, "labels": labels},
                "stringData": {"key": f"of {tenant.instance}"},
            },
            {"kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": namespace, "labels": labels}},
            {"kind": "Service", "metadata": {"name": "product", "namespace": namespace, "labels": labels}},
            {
                "kind": "StatefulSet",
                "metadata": {"name": "product", "namespace": namespace, "labels": labels},
                "spec": {"selector": {"matchLabels": {INSTANCE: tenant.instance}}, "template": {"spec": pod}},
            },
        ]

    def route(self, tenant: Tenant, cluster: Cluster) -> Manifest:
        """Return a tenant's route."""
        labels = {OWNER: TENANT_SETTINGS.owner, INSTANCE: tenant.instance, SLUG: tenant.slug}
        metadata = {"name": ROUTE_NAME, "namespace": namespace_name(tenant.instance), "labels": labels}
        return {"kind": ROUTE, "metadata": metadata, "spec": {"hostnames": [cluster.host(tenant.slug)]}}
