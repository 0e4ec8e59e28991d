"""What a pod's status means for its tenant."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.pod_status import PodStatus, diagnose
from tests.support.clock import START

CRASH_LIMIT = 3
READY = {"type": "Ready", "status": "True"}
NOT_READY = {"type": "Ready", "status": "False"}

# Random JSON whose fields have the names that Kubernetes uses, so that it gets past the first look.
TEXTS = st.sampled_from(["Failed", "Running", "True", "False", "Ready", "PodScheduled"]) | st.sampled_from(
    ["ErrImagePull", "InvalidImageName", "CrashLoopBackOff", "not found", ""]
)
OUTER_FIELDS = ["metadata", "deletionTimestamp", "status", "phase", "reason", "message", "conditions", "type"]
CONTAINER_FIELDS = ["state", "waiting", "image", "name", "restartCount", "lastState", "terminated", "exitCode"]
FIELDS = st.sampled_from([*OUTER_FIELDS, *CONTAINER_FIELDS, "initContainerStatuses", "containerStatuses"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4), max_leaves=12
)
CONTAINERS: st.SearchStrategy[Any] = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "state": st.fixed_dictionaries({"waiting": JSON}) | JSON,
            "lastState": st.fixed_dictionaries({"terminated": JSON}) | JSON,
            "restartCount": SCALARS,
            "image": SCALARS,
        },
    ),
    max_size=2,
)
PODS: st.SearchStrategy[Any] = st.dictionaries(FIELDS, JSON, max_size=4) | st.fixed_dictionaries(
    {"status": st.fixed_dictionaries({"containerStatuses": CONTAINERS | JSON, "conditions": JSON}) | JSON}
)


def seen(pod: Any) -> PodStatus:
    return diagnose(pod, now=START, crash_limit=CRASH_LIMIT)


def pod_with(*conditions: Any, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "product-0"}, "status": {"conditions": list(conditions), **status}}


def waiting(reason: str, message: str = "", **fields: Any) -> dict[str, Any]:
    container = {"name": "product", "image": "product:1", "state": {"waiting": {"reason": reason, "message": message}}}
    return pod_with(NOT_READY, phase="Pending", containerStatuses=[container | fields])


def crashing(restarts: Any) -> dict[str, Any]:
    last = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    return waiting("CrashLoopBackOff", restartCount=restarts, lastState=last)


def test_no_pod_is_not_ready() -> None:
    assert seen(None) == PodStatus(
        ready=False, reason="", message="the workload's pod does not exist yet", permanent=False, at=START
    )


def test_a_ready_pod_is_ready() -> None:
    assert seen(pod_with(READY, phase="Running")) == PodStatus(
        ready=True, reason="", message="ready", permanent=False, at=START
    )


def test_a_terminating_pod_is_not_ready() -> None:
    pod = pod_with(READY, phase="Running")
    pod["metadata"]["deletionTimestamp"] = "2026-02-28T12:00:00Z"
    status = seen(pod)
    assert (status.ready, status.reason, status.permanent) == (False, "Terminating", False)


@pytest.mark.parametrize(
    ("fields", "reason", "message"),
    [
        ({"reason": "Evicted", "message": "low on memory"}, "Evicted", "the pod failed: low on memory"),
        ({"reason": "Evicted"}, "Evicted", "the pod failed: Evicted"),
        ({}, "Failed", "the pod failed: Failed"),
    ],
)
def test_a_failed_pod_is_replaced(fields: dict[str, str], reason: str, message: str) -> None:
    status = seen(pod_with(READY, phase="Failed", **fields))
    assert (status.ready, status.reason, status.message, status.permanent) == (False, reason, message, False)


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
@pytest.mark.parametrize(
    ("message", "permanent", "doubtful"),
    [
        ('failed to resolve reference "product:1": product:1: not found', True, False),
        ('not found: manifest unknown: manifest tagged by "1" is not found', True, False),
        ("name unknown: repository name not known to registry", True, False),
        ("pull access denied, repository does not exist or may require authorization", False, True),
        ("401 Unauthorized", False, True),
        ("failed to fetch anonymous token: 403 Forbidden", False, True),
        ("", False, True),
        ("dial tcp: lookup registry.example.com: i/o timeout", False, False),
        ("dial tcp: lookup registry.example.com on 10.0.0.10:53: no such host", False, False),
        ("failed commit on ref: content digest sha256:0123: not found", False, False),
        ("429 Too Many Requests - toomanyrequests: retry later", False, False),
        ('failed to resolve reference "product:1": unexpected status: 503 Service Unavailable', False, False),
        ("unexpected EOF", False, False),
    ],
)
def test_only_a_missing_image_is_permanent(reason: str, message: str, permanent: bool, doubtful: bool) -> None:
    status = seen(waiting(reason, message))
    assert (status.ready, status.reason) == (False, reason)
    assert (status.permanent, status.doubtful) == (permanent, doubtful)
    assert status.message == f"the image product:1 cannot be pulled: {message or reason}"


def test_a_missing_image_with_a_long_name_is_permanent() -> None:
    image = f"registry.example.com/product@sha256:{'0' * 64}"
    message = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
    status = seen(waiting("ErrImagePull", message))
    assert (status.permanent, len(message) > 300, len(status.message) < 400) == (True, True, True)


@pytest.mark.parametrize(
    ("reason", "message", "permanent", "doubtful"),
    [
        ("InvalidImageName", "couldn't parse image reference", True, False),
        ("CreateContainerConfigError", 'secret "tenant" not found', False, True),
        ("CreateContainerConfigError", "failed to sync configmap cache: timed out waiting", False, False),
        ("CreateContainerError", "context deadline exceeded", False, False),
        ("RunContainerError", "exec format error", False, True),
    ],
)
def test_a_container_that_is_not_created(reason: str, message: str, permanent: bool, doubtful: bool) -> None:
    status = seen(waiting(reason, message))
    assert (status.reason, status.permanent, status.doubtful) == (reason, permanent, doubtful)
    assert status.message == f"the container cannot be created: {message}"


@pytest.mark.parametrize(("restarts", "permanent"), [(0, False), (2, False), (3, True), (4, True), ("3", False)])
def test_a_crash_loop_is_permanent_at_the_limit(restarts: Any, permanent: bool) -> None:
    status = seen(crashing(restarts))
    assert (status.ready, status.reason, status.permanent) == (False, "CrashLoopBackOff", permanent)


def test_a_crash_loop_names_reason_code_and_restarts() -> None:
    assert seen(crashing(2)).message == "the product crashes on start: OOMKilled, exit code 137, 2 restarts"
    unknown = "the product crashes on start: Error, exit code unknown, 0 restarts"
    assert seen(waiting("CrashLoopBackOff")).message == unknown


def test_an_init_container_counts_as_well() -> None:
    pod = waiting("ErrImagePull", "manifest unknown")
    pod["status"]["initContainerStatuses"] = pod["status"].pop("containerStatuses")
    assert seen(pod).permanent


def test_an_unschedulable_pod_can_still_be_scheduled() -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    status = seen(pod_with(scheduled, phase="Pending"))
    assert (status.ready, status.reason, status.permanent) == (False, "Unschedulable", False)
    assert status.message == "no node can take the workload: 0/3 nodes"
    assert seen(pod_with({"type": "PodScheduled", "status": "False"})).reason == "Unschedulable"


def test_a_running_pod_waits_for_its_probe() -> None:
    status = seen(pod_with(NOT_READY, {"type": "PodScheduled", "status": "True"}, phase="Running"))
    assert (status.ready, status.reason, status.permanent) == (False, "ContainersNotReady", False)


@pytest.mark.parametrize("pod", [pod_with(NOT_READY, phase="Pending"), waiting("ContainerCreating"), {}])
def test_any_other_pod_is_being_created(pod: dict[str, Any]) -> None:
    status = seen(pod)
    assert (status.ready, status.reason, status.permanent) == (False, "ContainerCreating", False)


def test_a_long_message_is_cut() -> None:
    assert len(seen(waiting("ErrImagePull", "x" * 10_000)).message) < 400


@given(PODS)
def test_malformed_json_is_a_status_too(pod: dict[str, Any]) -> None:
    status = seen(pod)
    assert status.message
    assert [status.ready, status.permanent, status.doubtful].count(True) <= 1
    assert not (status.ready and status.reason)
