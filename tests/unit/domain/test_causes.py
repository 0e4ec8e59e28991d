"""What events add to a status."""

from typing import Any

import pytest

from shared.domain.causes import last_seen, with_cause
from shared.domain.pod_status import PodStatus
from tests.support.builders import PRODUCT
from tests.support.clock import START

OLD, NEW = "2026-02-28T11:00:00Z", "2026-02-28T11:59:59Z"


def status(reason: str = "", message: str = "no pod yet") -> PodStatus:
    return PodStatus(False, reason, message, False, START)


def event(reason: str, message: str = "", about: str = "Pod/product-0", seen: str = OLD, **fields: Any) -> Any:
    kind, name = about.split("/")
    return {
        "metadata": {"creationTimestamp": OLD},
        "involvedObject": {"kind": kind, "name": name},
        "reason": reason,
        "message": message,
        "type": "Warning",
        "lastTimestamp": seen,
        **fields,
    }


def test_without_an_event_a_status_stays() -> None:
    assert with_cause(status(), [], PRODUCT) == status()


def test_a_policy_that_denies_the_pod_is_named() -> None:
    denied = event("FailedCreate", "admission webhook denied the request", "StatefulSet/product", NEW, count=13)
    older = event("FailedMount", "an older trouble", seen=OLD)
    found = with_cause(status(), [denied, older], PRODUCT)
    assert found.reason == "FailedCreate"
    assert found.message == "no pod yet; Kubernetes says: admission webhook denied the request"


def test_a_claim_without_a_class_is_named() -> None:
    unbound = status("Unschedulable", "no node can take it: pod has unbound immediate PersistentVolumeClaims")
    cause = event("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found', "PersistentVolumeClaim/data")
    scheduler = event("FailedScheduling", "unbound immediate PersistentVolumeClaims", seen=NEW)
    found = with_cause(unbound, [cause, scheduler], PRODUCT)
    assert 'storageclass.storage.k8s.io "fast" not found' in found.message


@pytest.mark.parametrize(
    "about",
    ["Pod/cm-acme-http-solver-x7", "Pod/product-0-debug", "Pod/other-0", "PersistentVolumeClaim/x", "Job/product"],
)
def test_events_about_anything_else_do_not_count(about: str) -> None:
    assert with_cause(status(), [event("Failed", "not ours", about, NEW)], PRODUCT) == status()


def test_ordinary_events_are_not_told() -> None:
    pulled = event("Pulled", "image pulled", type="Normal")
    assert with_cause(status(), [pulled], PRODUCT) == status()


@pytest.mark.parametrize(("reason", "type_"), [("Preempted", "Normal"), ("Evicted", "Warning")])
def test_a_pod_that_was_driven_out_is_named(reason: str, type_: str) -> None:
    assert "by others" in with_cause(status(), [event(reason, "by others", type=type_)], PRODUCT).message


@pytest.mark.parametrize(("last", "adding"), [("TriggeredScaleUp", True), ("NotTriggerScaleUp", False)])
def test_the_last_word_of_the_autoscaler_counts(last: str, adding: bool) -> None:
    first = "NotTriggerScaleUp" if adding else "TriggeredScaleUp"
    events = [event(last, "last", seen=NEW, type="Normal"), event(first, "first", seen=OLD, type="Normal")]
    found = with_cause(status("Unschedulable"), events, PRODUCT)
    assert (found.adding_node, "last" in found.message) == (adding, True)
    assert with_cause(status("ContainerCreating"), events, PRODUCT) == status("ContainerCreating")


@pytest.mark.parametrize(
    "times",
    [
        {"series": {"lastObservedTime": "2026-02-28T11:59:59.500000Z"}, "eventTime": "2026-02-28T11:00:00.000000Z"},
        {"lastTimestamp": "2026-02-28T11:59:59.5Z", "firstTimestamp": OLD},
        {"lastTimestamp": None, "eventTime": "2026-02-28T11:59:59.500000Z", "series": None},
        {"metadata": {"creationTimestamp": "2026-02-28T11:59:59.5Z"}, "lastTimestamp": None},
    ],
)
def test_an_event_is_as_old_as_it_was_last_seen(times: dict[str, Any]) -> None:
    assert last_seen(event("x", **{"seen": OLD} | {"lastTimestamp": OLD}) | times).second == 59
    assert last_seen({}).year == 1
