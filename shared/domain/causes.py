"""What the events of Kubernetes add to the status of a tenant that is not ready: the cause often lies elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from shared.domain.pod_status import PodStatus
from shared.domain.workloads import Workload

# Reasons that a status itself may have, beside none: its own message is about what is seen, not about why.
EXPLAINED_BY_EVENTS = {"", "ContainerCreating", "ContainersNotReady", "Terminating", "Unschedulable"}
# The pod's condition says the same, and is never out of date.
_OBSOLETE = {"FailedScheduling"}
_SCALE_UP, _NO_SCALE_UP = "TriggeredScaleUp", "NotTriggerScaleUp"
_WORTH_TELLING = {"Preempted", _SCALE_UP, _NO_SCALE_UP}  # though they are no warnings
_MAX_QUOTE = 300
_NEVER = datetime.min.replace(tzinfo=UTC)


def with_cause(status: PodStatus, events: Iterable[Mapping[str, Any]], workloads: Sequence[Workload]) -> PodStatus:
    """Return a status with what the last event about the tenant's workloads, pods or claims says.

    Args:
        status: Of a tenant that is not ready.
        events: Of its namespace, in any order.
        workloads: What the tenant consists of; events about anything else do not count.
    """
    unschedulable = status.reason == "Unschedulable"
    told = [
        event
        for event in events
        if (event.get("type") == "Warning" or event.get("reason") in _WORTH_TELLING)
        and event.get("reason") not in _OBSOLETE
        and any(workload.concerns(event.get("involvedObject") or {}) for workload in workloads)
        and (unschedulable or event.get("reason") not in (_SCALE_UP, _NO_SCALE_UP))
    ]
    if not told:
        return status
    last = max(told, key=last_seen)
    reason = str(last.get("reason", ""))
    text = str(last.get("message") or reason)[:_MAX_QUOTE]
    if reason == _SCALE_UP:
        return replace(status, message=f"the cluster is adding a node for it: {text}", adding_node=True)
    return replace(status, reason=reason, message=f"{status.message}; Kubernetes says: {text}")


def last_seen(event: Mapping[str, Any]) -> datetime:
    """Return when an event was last seen. It may have been written first long ago, and counted since."""
    series: Mapping[str, Any] = event.get("series") or {}
    times: tuple[str | None, ...] = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event.get("metadata", {}).get("creationTimestamp"),
    )
    return max((datetime.fromisoformat(each) for each in times if each), default=_NEVER)
