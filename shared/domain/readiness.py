"""What a pod's status means for the tenant that waits for it, in words a person understands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Reasons of the kubelet after which a container never starts unless somebody changes something.
_HOPELESS = {"InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"}
_PULL_FAILED = {"ErrImagePull", "ImagePullBackOff"}
_IMAGE_IS_NOT_THERE = ("not found", "manifest unknown", "does not exist", "denied", "unauthorized")
_LONGEST_QUOTE = 300


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of a tenant's workload at one moment.

    `reason` is Kubernetes' own word for it, or empty; `permanent` says that waiting cannot help.
    """

    ready: bool
    reason: str
    message: str
    permanent: bool
    at: datetime


def diagnose(pod: Mapping[str, Any] | None, *, now: datetime, crash_limit: int) -> Observation:
    """Say how a pod is.

    Args:
        pod: The pod as the API server gives it, or None if there is none yet.
        now: The time of the observation.
        crash_limit: Restarts of a crashing container after which waiting counts as hopeless.
    """

    def seen(reason: str, message: str, *, ready: bool = False, permanent: bool = False) -> Observation:
        return Observation(ready, reason, message, permanent, now)

    if pod is None:
        return seen("", "the workload's pod does not exist yet")
    status = _mapping(pod.get("status"))
    if _mapping(pod.get("metadata")).get("deletionTimestamp"):
        return seen("Terminating", "the workload's previous pod is still stopping")
    if status.get("phase") == "Failed":
        reason = _text(status.get("reason")) or "Failed"
        return seen(reason, f"the pod failed: {_text(status.get('message')) or reason}")
    for container in _containers(status):
        waiting = _mapping(_mapping(container.get("state")).get("waiting"))
        reason, message = _text(waiting.get("reason")), _text(waiting.get("message"))
        name = _text(container.get("image")) or _text(container.get("name"))
        if reason in _PULL_FAILED:
            gone = any(sign in message.lower() for sign in _IMAGE_IS_NOT_THERE)
            return seen(reason, f"the image {name} cannot be pulled: {message or reason}", permanent=gone)
        if reason in _HOPELESS:
            return seen(reason, f"the container cannot be created: {message or reason}", permanent=True)
        restarts = container.get("restartCount")
        restarts = restarts if isinstance(restarts, int) else 0
        if reason == "CrashLoopBackOff":
            last = _mapping(_mapping(container.get("lastState")).get("terminated"))
            why = _text(last.get("reason")) or "Error"
            words = f"the product crashes on start: {why}, exit code {last.get('exitCode', 'unknown')}, "
            return seen(reason, f"{words}{restarts} restarts", permanent=restarts >= crash_limit)
    conditions = {
        _text(each.get("type")): each for each in map(_mapping, _list(status.get("conditions"))) if each.get("type")
    }
    if _text(conditions.get("Ready", {}).get("status")) == "True":
        return seen("", "ready", ready=True)
    scheduled = conditions.get("PodScheduled", {})
    if _text(scheduled.get("status")) == "False":
        reason = _text(scheduled.get("reason")) or "Unschedulable"
        return seen(reason, f"no node can take the workload: {_text(scheduled.get('message')) or reason}")
    if status.get("phase") == "Running":
        return seen("ContainersNotReady", "the product is running but does not answer its readiness probe yet")
    return seen("ContainerCreating", "the volume is attached and the image pulled")


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for field in ("initContainerStatuses", "containerStatuses"):
        yield from map(_mapping, _list(status.get(field)))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType] - JSON


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType] - JSON


def _text(value: Any) -> str:
    return value[:_LONGEST_QUOTE] if isinstance(value, str) else ""
