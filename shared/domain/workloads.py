"""A tenant's workloads: which pods are theirs, and what all of these together say."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.domain.pod_status import PodStatus, diagnose

KIND = "StatefulSet"  # the only kind of workload that a tenant may be made of


@dataclass(frozen=True, slots=True)
class Workload:
    """One StatefulSet of a tenant, how many pods it has when all is well, and the names of the claims they mount."""

    name: str
    replicas: int = 1
    claims: frozenset[str] = frozenset()

    def owns(self, pod: Mapping[str, Any]) -> bool:
        """Whether a pod is its own, as the controller that made the pod recorded it."""
        references = pod.get("metadata", {}).get("ownerReferences") or ()
        return any(
            each.get("controller") and (each.get("kind"), each.get("name")) == (KIND, self.name) for each in references
        )

    def concerns(self, reference: Mapping[str, Any]) -> bool:
        """Whether an event's object is the StatefulSet, one of its pods, there or not, or one of its claims."""
        kind, name = reference.get("kind"), str(reference.get("name", ""))
        if kind == "Pod":
            workload, _, ordinal = name.rpartition("-")
            return workload == self.name and ordinal.isdecimal()
        return (kind, name) == (KIND, self.name) or (kind == "PersistentVolumeClaim" and name in self.claims)


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many pods each workload of a tenant has by its templates, and how many it is set to have on its cluster."""

    planned: Mapping[str, int]
    found: Mapping[str, int]

    @property
    def wanted(self) -> Mapping[str, int]:
        """How many each workload is set to have; for one that is stopped, or not there, how many it is to have."""
        return {**self.planned, **{name: count for name, count in self.found.items() if count}}

    @property
    def is_stopped(self) -> bool:
        """Whether a workload that is to have pods is stopped, or not there."""
        return any(count and not self.found.get(name) for name, count in self.planned.items())


def workloads_of(objects: Iterable[Mapping[str, Any]]) -> Sequence[Workload]:
    """Return the workloads among a tenant's objects."""
    return [_workload(each["metadata"]["name"], each["spec"]) for each in objects if each["kind"] == KIND]


def with_replicas(objects: Iterable[Mapping[str, Any]], replicas: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
    """Return a tenant's objects, with so many pods for each workload that is named."""
    return [
        {**each, "spec": {**each["spec"], "replicas": replicas[each["metadata"]["name"]]}}
        if each["kind"] == KIND and each["metadata"]["name"] in replicas
        else each
        for each in objects
    ]


def pods_of_workloads(pods: Iterable[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the pods that a workload made, whichever it is."""
    return [
        pod
        for pod in pods
        if any(
            each.get("controller") and each.get("kind") == KIND
            for each in pod.get("metadata", {}).get("ownerReferences") or ()
        )
    ]


def status_of(
    pods: Sequence[Mapping[str, Any]], workloads: Sequence[Workload], *, now: datetime, crash_limit: int
) -> PodStatus:
    """Return the status of a tenant: ready when each workload has all its pods ready.

    Whatever else is in the namespace does not count. Of several pods that are not ready, the one counts that can be
    helped least.

    Args:
        pods: The pods of the namespace, as the API server gives them.
        workloads: What the tenant consists of.
        now: The time of the observation.
        crash_limit: Restarts of a crashing container after which waiting cannot help.
    """
    found: list[PodStatus] = []
    for workload in workloads:
        own = [diagnose(pod, now=now, crash_limit=crash_limit) for pod in pods if workload.owns(pod)]
        ready = [each for each in own if each.ready]
        if len(ready) < workload.replicas:
            found += [each for each in own if not each.ready] or [diagnose(None, now=now, crash_limit=crash_limit)]
    if not found:
        return PodStatus(ready=True, reason="", message="ready", permanent=False, at=now)
    return max(found, key=lambda each: (each.permanent, each.doubtful, bool(each.reason)))


def _workload(name: str, spec: Mapping[str, Any]) -> Workload:
    replicas: int = spec.get("replicas", 1)
    volumes = spec.get("template", {}).get("spec", {}).get("volumes") or ()
    mounted = {each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each}
    own = {
        f"{template['metadata']['name']}-{name}-{number}"
        for template in spec.get("volumeClaimTemplates") or ()
        for number in range(replicas)
    }
    return Workload(name, replicas, frozenset(mounted | own))
