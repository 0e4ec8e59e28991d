"""A namespace in memory, with a pod for each workload that behaves as its image's tag says.

The tags are those of the local cluster: `missing-...` has no image, `crash-...` crashes, `never-ready-...` never
answers its probe, `slow-...` is late; any other becomes ready. Two more: `node-SECONDS` waits for a node that the
autoscaler adds, `denied-SECONDS` for a registry that denies its image so long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from shared.application.ports.clusters import Manifest
from shared.domain.pod_status import PodStatus
from shared.domain.workloads import KIND, Workload, status_of
from tests.support.clock import FakeClock

CRASH_LIMIT = 3

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


class FakePods:
    """What the pods of namespaces do.

    Args:
        clock: The present time.
        ready_seconds: How long a workload takes to become ready.
        slow_seconds: The same for one whose tag begins with `slow`.
    """

    def __init__(self, clock: FakeClock, *, ready_seconds: float, slow_seconds: float) -> None:
        self._clock = clock
        self._ready_seconds = ready_seconds
        self._slow_seconds = slow_seconds

    def ready_at(self, namespace: FakeNamespace) -> float:
        """Return when its pods are ready, by the clock's monotonic time."""
        kind = namespace.tag.split("-", 1)[0]
        if kind in ("node", "denied"):
            return namespace.workload_at + float(namespace.tag.split("-")[1])
        seconds = {"never": float("inf"), "slow": self._slow_seconds, "": float("inf")}.get(kind, self._ready_seconds)
        return namespace.workload_at + seconds

    def status(self, namespace: FakeNamespace, workloads: Sequence[Workload]) -> PodStatus:
        """Return what its pods say now."""
        tag = namespace.tag
        kind = tag.split("-", 1)[0]
        ready = self._clock.monotonic() >= self.ready_at(namespace) and kind not in ("missing", "crash")
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
