"""Which pods are a tenant's, and what they say together."""

from typing import Any

import pytest

from shared.adapters.templates import YamlTenantTemplates
from shared.domain.workloads import Workload, status_of, workloads_of
from tests.support.builders import LOCAL, PLANS, PRODUCT, TENANT_SETTINGS, new_tenant
from tests.support.clock import START

READY = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
PENDING = {"phase": "Pending"}
MISSING, DENIED = (
    {
        "phase": "Pending",
        "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": message}}}],
    }
    for message in ("manifest unknown", "denied")
)


def pod(status: Any, owner: str = "product", kind: str = "StatefulSet", **reference: Any) -> dict[str, Any]:
    owners = [{"kind": kind, "name": owner, "controller": True, **reference}] if owner else []
    return {"metadata": {"ownerReferences": owners}, "status": status}


def ready(pods: list[Any], workloads: Any = PRODUCT) -> bool:
    return status_of(pods, workloads, now=START, crash_limit=3).ready


@pytest.mark.parametrize(
    "other",
    [
        pod(READY, ""),
        pod(READY, "cm-acme-http-solver", "ReplicaSet"),
        pod(READY, "product", "Job"),
        pod(READY, "product-2"),
        pod(READY, controller=False),
        {"status": READY},
    ],
)
def test_a_pod_of_others_makes_no_tenant_ready(other: dict[str, Any]) -> None:
    assert not ready([other])
    assert not ready([other, pod(PENDING)])


@pytest.mark.parametrize(
    "other",
    [pod(PENDING, ""), pod(MISSING, "backup", "Job"), pod({"phase": "Failed"}, "x"), pod({"phase": "Succeeded"}, "x")],
)
def test_a_pod_of_others_holds_no_tenant_up(other: dict[str, Any]) -> None:
    assert ready([other, pod(READY)])


def test_every_workload_needs_all_its_pods() -> None:
    workloads = (Workload("product"), Workload("worker", 2))
    pods = [pod(READY), pod(READY, "worker")]
    assert not ready(pods, workloads)
    assert ready([*pods, pod(READY, "worker")], workloads)
    assert not ready([pod(READY, "worker"), pod(READY, "worker"), pod(READY, "worker")], workloads)


def test_the_worst_pod_gives_the_reason() -> None:
    workloads = (Workload("product", 2), Workload("worker"))
    pods = [pod(PENDING), pod(DENIED), pod(READY, "worker")]
    found = status_of(pods, workloads, now=START, crash_limit=3)
    assert (found.reason, found.permanent, found.doubtful) == ("ErrImagePull", False, True)
    found = status_of([*pods, pod(MISSING, "worker")], workloads, now=START, crash_limit=3)
    assert found.permanent is False  # the worker has another pod that is ready
    assert status_of([pod(PENDING), pod(MISSING)], workloads, now=START, crash_limit=3).permanent is True


def test_the_templates_make_one_workload_with_its_claim() -> None:
    objects = YamlTenantTemplates(TENANT_SETTINGS, PLANS).render(new_tenant(), LOCAL)
    assert workloads_of(objects) == [Workload("product", 1, frozenset({"data"}))]


def test_the_claims_of_templates_are_named() -> None:
    spec = {"replicas": 2, "volumeClaimTemplates": [{"metadata": {"name": "data"}}]}
    [workload] = workloads_of([{"kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec}])
    assert workload.claims == {"data-db-0", "data-db-1"}
