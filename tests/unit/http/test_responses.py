"""The JSON of the responses, field by field, which callers depend on."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from functions.http import responses, tenant_responses
from functions.http.problems import Kind, Problem
from shared.domain.clusters import ClusterName
from shared.domain.instances import InstanceId
from shared.domain.lifecycle import OperationKind, StepName, TenantState
from shared.domain.operations import OperationId, new_operation
from shared.domain.slugs import Slug
from shared.domain.tenants import Observed, Tenant
from tests.support.builders import new_cluster

NOW = datetime(2026, 3, 1, 12, 0, 0, 4_321, tzinfo=UTC)
OPERATION = replace(new_operation(OperationKind.DELETE, Slug("acme"), actor="x", now=NOW), id=OperationId("acme.1"))


def test_an_operation() -> None:
    begun = OPERATION.start_step(StepName.REMOVE, NOW + timedelta(seconds=1))
    assert json.loads(responses.Operation.of(begun).model_dump_json()) == {
        "id": "acme.1",
        "kind": "delete",
        "tenant": "acme",
        "state": "running",
        "percent": 50,
        "reason": "",
        "cancel_requested": False,
        "queue_position": None,
        "created_at": "2026-03-01T12:00:00.004Z",
        "started_at": "2026-03-01T12:00:01.004Z",
        "finished_at": None,
        "updated_at": "2026-03-01T12:00:01.004Z",
        "steps": [
            {
                "name": "remove",
                "state": "running",
                "message": "",
                "started_at": "2026-03-01T12:00:01.004Z",
                "finished_at": None,
                "seconds": None,
            }
        ],
        "kept_volumes": [],
        "links": {"self": "/api/operations/acme.1", "tenant": "/api/tenants/acme"},
    }


def test_a_tenant() -> None:
    tenant = Tenant(
        slug=Slug("acme"),
        state=TenantState.ACTIVE,
        plan="trial",
        region="local",
        version="1",
        email="a@example.com",
        display_name="Äcme",
        created_at=NOW,
        changed_at=NOW,
        state_since=NOW,
        operation=OPERATION,
        instance=InstanceId("4xnx3djrrs"),
        cluster=ClusterName("weu-1"),
        observed=Observed(ready=True, message="ready", at=NOW),
    )
    assert json.loads(
        tenant_responses.Tenant.of(tenant, [new_cluster("one"), new_cluster("weu-1")]).model_dump_json()
    ) == {
        "slug": "acme",
        "state": "active",
        "plan": "trial",
        "region": "local",
        "version": "1",
        "email": "a@example.com",
        "display_name": "Äcme",
        "cluster": "weu-1",
        "instance": "4xnx3djrrs",
        "url": "https://acme.weu-1.example.com",
        "created_at": "2026-03-01T12:00:00.004Z",
        "changed_at": "2026-03-01T12:00:00.004Z",
        "state_since": "2026-03-01T12:00:00.004Z",
        "observed": {"ready": True, "message": "ready", "at": "2026-03-01T12:00:00.004Z"},
        "operation": "acme.1",
        "quarantine_until": None,
        "links": {"self": "/api/tenants/acme", "operation": "/api/operations/acme.1"},
    }


def test_a_problem_has_errors_only_if_there_are_any() -> None:
    conflict = responses.Problem.of(Problem(Kind.CONFLICT, "taken"), instance="/api/tenants")
    assert json.loads(conflict.model_dump_json()) == {
        "type": "/api/problems/conflict",
        "title": "The current state does not allow this",
        "status": 409,
        "detail": "taken",
        "instance": "/api/tenants",
    }
    invalid = responses.Problem.of(Problem(Kind.INVALID_REQUEST, "fix it", (("/plan", "no"),)), instance="/")
    assert json.loads(invalid.model_dump_json())["errors"] == [{"pointer": "/plan", "detail": "no"}]
