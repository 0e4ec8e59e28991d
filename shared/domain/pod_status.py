"""Maps a pod's status to a tenant's: ready or not, whether waiting can help, and a message for people."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_PULL_FAILED = {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"}
_NOT_CREATED = {"InvalidImageName", "CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
# How registries and container runtimes say that an image does not exist: no waiting brings it.
_IMAGE_MISSING = re.compile(
    r"manifest unknown|name unknown|manifest for .* not found|failed to resolve reference .*: not found"
)
# What heals by itself: a network, a name service or a registry that is overloaded, a cache that is not filled yet.
_HEALS = re.compile(
    r"timed? ?out|timeout|deadline exceeded|no such host|server misbehaving|connection re(fused|set)|unreachable"
    r"|\beof\b|too ?many ?requests|\b(429|50[0234])\b|content digest \S+: not found|failed to sync \S+ cache"
)
_MAX_QUOTE = 300


@dataclass(frozen=True, slots=True)
class PodStatus:
    """What was observed of a tenant's workload at one moment.

    `reason` is the reason that Kubernetes gives, or empty; `permanent` says that waiting cannot help, and `doubtful`
    that it rarely does; `adding_node` says that the cluster's autoscaler is adding a node for it.
    """

    ready: bool
    reason: str
    message: str
    permanent: bool
    at: datetime
    doubtful: bool = False
    adding_node: bool = False


def diagnose(pod: Mapping[str, Any] | None, *, now: datetime, crash_limit: int) -> PodStatus:
    """Return the status of a tenant's workload from its pod.

    Args:
        pod: The pod as the API server gives it, or None if there is none yet.
        now: The time of the observation.
        crash_limit: Restarts of a crashing container after which waiting cannot help.
    """

    def status_of(
        reason: str, message: str, *, ready: bool = False, permanent: bool = False, doubtful: bool = False
    ) -> PodStatus:
        return PodStatus(ready, reason, message, permanent, now, doubtful)

    if pod is None:
        return status_of("", "the workload's pod does not exist yet")
    status = _mapping(pod.get("status"))
    if _mapping(pod.get("metadata")).get("deletionTimestamp"):
        return status_of("Terminating", "the workload's previous pod is still stopping")
    if status.get("phase") == "Failed":
        reason = _text(status.get("reason")) or "Failed"
        return status_of(reason, f"the pod failed: {_text(status.get('message')) or reason}")
    for container in _containers(status):
        waiting = _mapping(_mapping(container.get("state")).get("waiting"))
        reason, message = _text(waiting.get("reason")), _text(waiting.get("message"))
        name = _text(container.get("image")) or _text(container.get("name"))
        # The cause is at the end, behind the image's name three times: beyond what is quoted.
        cause = str(waiting.get("message", "")).lower()
        heals = _HEALS.search(cause) is not None
        if reason in _PULL_FAILED:
            missing = not heals and _IMAGE_MISSING.search(cause) is not None
            text = f"the image {name} cannot be pulled: {message or reason}"
            return status_of(reason, text, permanent=missing, doubtful=not (heals or missing))
        if reason in _NOT_CREATED:
            text = f"the container cannot be created: {message or reason}"
            invalid = reason == "InvalidImageName"
            return status_of(reason, text, permanent=invalid, doubtful=not (heals or invalid))
        restarts = container.get("restartCount")
        restarts = restarts if isinstance(restarts, int) else 0
        if reason == "CrashLoopBackOff":
            last = _mapping(_mapping(container.get("lastState")).get("terminated"))
            why = _text(last.get("reason")) or "Error"
            text = f"the product crashes on start: {why}, exit code {last.get('exitCode', 'unknown')}, "
            return status_of(reason, f"{text}{restarts} restarts", permanent=restarts >= crash_limit)
    conditions = {
        _text(each.get("type")): each for each in map(_mapping, _list(status.get("conditions"))) if each.get("type")
    }
    if _text(conditions.get("Ready", {}).get("status")) == "True":
        return status_of("", "ready", ready=True)
    scheduled = conditions.get("PodScheduled", {})
    if _text(scheduled.get("status")) == "False":
        reason = _text(scheduled.get("reason")) or "Unschedulable"
        return status_of(reason, f"no node can take the workload: {_text(scheduled.get('message')) or reason}")
    if status.get("phase") == "Running":
        return status_of("ContainersNotReady", "the product is running but does not pass its readiness probe yet")
    return status_of("ContainerCreating", "the volume is attached and the image pulled")


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for field in ("initContainerStatuses", "containerStatuses"):
        yield from map(_mapping, _list(status.get(field)))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType] - JSON


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] - JSON


def _text(value: Any) -> str:
    return value[:_MAX_QUOTE] if isinstance(value, str) else ""
