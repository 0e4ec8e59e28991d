"""Kubernetes in memory: namespaces with objects and pods, and what a worker's faults make of it.

What pods do is in fake_namespace.py. Waiting moves the fake clock.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime, timedelta
from secrets import token_hex
from typing import final, override
from uuid import uuid4

from local.gateway.process import NAME, NAMESPACE
from shared.adapters.kubernetes.ownership import INSTANCE, OWNER, SLUG, ensure_all_ours, ensure_ours
from shared.application.ports.clusters import KubernetesCluster, Manifest, RecordKept
from shared.domain.assets import Nodes
from shared.domain.clusters import (
    GatewayRef,
    Probe,
)
from shared.domain.instances import NAMESPACE_PREFIX, InstanceId, namespace_name
from shared.domain.pod_status import PodStatus
from shared.domain.reconciliation import FoundNamespace, FoundWorkload, LeftVolume, RemovedNamespaces
from shared.domain.routes import KIND as ROUTE
from shared.domain.routes import ROUTE_NAME, RouteStatus
from shared.domain.slugs import Slug
from shared.domain.workloads import KIND, Workload
from shared.errors import BerthError, NotFound, Permanent, Transient
from shared.time_budget import time_left
from tests.support.builders import TENANT_SETTINGS
from tests.support.clock import FakeClock
from tests.support.fake_namespace import FakeNamespace, FakePods, replicas_of
from tests.support.faults import Faults

KINDS = {
    *("Namespace", "ServiceAccount", "ResourceQuota", "LimitRange", "Secret", "ConfigMap", "PersistentVolumeClaim"),
    *("Service", "StatefulSet", "NetworkPolicy"),
}


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
        behind: By how much its own clock is behind.
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
        self.machines: list[Nodes] = []
        self.retained: dict[str, str] = {}
        self.away: BerthError | None = None
        self.behind = timedelta()
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
        self._pods = FakePods(clock, ready_seconds=ready_seconds, slow_seconds=slow_seconds)

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
            namespace = self.namespaces.setdefault(name, FakeNamespace(await self.time()))
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
        if not self._pods.status(held, workloads).permanent:
            left = self._pods.ready_at(held) - self._clock.monotonic()
            self._clock.advance(min(timeout, max(0.0, left)))
        return self._pods.status(held, workloads)

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
            self.volumes.append(LeftVolume(self.retained[namespace], instance, "Released", await self.time()))

    async def time(self) -> datetime:
        """Return its own time."""
        await self._answer()
        return self._clock.now() - self.behind

    async def tenant_namespaces(self) -> Sequence[FoundNamespace]:
        """Return the namespaces of this berth's instances."""
        await self._answer()
        return self._found()

    async def tenant_workloads(self) -> Sequence[FoundWorkload]:
        """Return the workloads of this berth's instances."""
        await self._answer()
        return [FoundWorkload(instance, replicas_of(each)) for instance, each in self._own(KIND)]

    async def tenant_routes(self) -> Set[InstanceId]:
        """Return which of this berth's instances have a route."""
        await self._answer()
        return {instance for instance, each in self._own(ROUTE) if each["metadata"]["name"] == ROUTE_NAME}

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

    def _own(self, wanted: str) -> Iterator[tuple[InstanceId, Manifest]]:
        """Yield the objects of a kind that are this berth's, each with its instance."""
        for found in self._found():
            for (kind, _), manifest in self.namespaces[namespace_name(found.instance)].objects.items():
                labels = manifest["metadata"].get("labels", {})
                if kind == wanted and (labels.get(OWNER), labels.get(INSTANCE)) == (self._owner, found.instance):
                    yield found.instance, manifest

    async def left_volumes(self) -> Sequence[LeftVolume]:
        """Return the volumes that were an instance's and are neither used nor deleted."""
        await self._answer()
        return list(self.volumes)

    async def nodes(self) -> Sequence[Nodes]:
        """Return how many nodes there are of each machine."""
        await self._answer()
        return list(self.machines)

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
        problems = () if given == self.gateway_name else (f"there is no gateway {given}",)
        return Probe(await self.uid(), self.missing, self.warnings, problems)

    async def _answer(self) -> None:
        await asyncio.sleep(0)
        if self.away is not None:
            raise self.away


@final
class FaultyCluster(KubernetesCluster):
    """A cluster as one worker reaches it, with that worker's faults.

    As the real one does, it sends nothing when the time budget is over, except `check`.
    """

    def __init__(self, cluster: KubernetesCluster, faults: Faults) -> None:
        self._cluster = cluster
        self._faults = faults

    @override
    async def apply(self, objects: Sequence[Manifest], *, is_new: bool = True) -> None:
        await self._request("apply", lambda: self._cluster.apply(objects, is_new=is_new))

    @override
    async def wait_until_ready(self, namespace: str, workloads: Sequence[Workload], *, timeout: float) -> PodStatus:
        return await self._request(
            "wait_until_ready", lambda: self._cluster.wait_until_ready(namespace, workloads, timeout=timeout)
        )

    @override
    async def replicas(self, namespace: str) -> Mapping[str, int]:
        return await self._request("replicas", lambda: self._cluster.replicas(namespace))

    @override
    async def stop(self, namespace: str) -> None:
        await self._request("stop", lambda: self._cluster.stop(namespace))

    @override
    async def wait_until_stopped(self, namespace: str, *, timeout: float) -> str:
        return await self._request(
            "wait_until_stopped", lambda: self._cluster.wait_until_stopped(namespace, timeout=timeout)
        )

    @override
    async def open_route(self, route: Manifest, *, timeout: float) -> RouteStatus:
        return await self._request("open_route", lambda: self._cluster.open_route(route, timeout=timeout))

    @override
    async def close_route(self, namespace: str) -> None:
        await self._request("close_route", lambda: self._cluster.close_route(namespace))

    @override
    async def remove(self, namespace: str, *, timeout: float, record_kept: RecordKept | None = None) -> None:
        await self._request("remove", lambda: self._cluster.remove(namespace, timeout=timeout, record_kept=record_kept))

    @override
    async def time(self) -> datetime:
        return await self._request("time", self._cluster.time)

    @override
    async def tenant_namespaces(self) -> Sequence[FoundNamespace]:
        return await self._request("tenant namespaces", self._cluster.tenant_namespaces)

    @override
    async def tenant_workloads(self) -> Sequence[FoundWorkload]:
        return await self._request("tenant workloads", self._cluster.tenant_workloads)

    @override
    async def tenant_routes(self) -> Set[InstanceId]:
        return await self._request("tenant routes", self._cluster.tenant_routes)

    @override
    async def has_namespace(self, namespace: str) -> bool:
        return await self._request("has namespace", lambda: self._cluster.has_namespace(namespace))

    @override
    async def removed_namespaces(self, position: str) -> RemovedNamespaces:
        return await self._request("removed namespaces", lambda: self._cluster.removed_namespaces(position))

    @override
    async def left_volumes(self) -> Sequence[LeftVolume]:
        return await self._request("left volumes", self._cluster.left_volumes)

    @override
    async def nodes(self) -> Sequence[Nodes]:
        return await self._request("nodes", self._cluster.nodes)

    @override
    async def uid(self) -> str:
        return await self._request("uid", self._cluster.uid)

    @override
    async def check(self) -> str:
        return await self._faults.call("check", self._cluster.check)

    async def _request[T](self, name: str, attempt: Callable[[], Awaitable[T]]) -> T:
        if time_left() <= 0:
            raise Transient("no time is left for it")
        return await self._faults.call(name, attempt)
