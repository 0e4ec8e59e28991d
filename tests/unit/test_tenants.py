"""The lifecycle: which moves there are, and that two operations never run on one tenant."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.operations import Operation, OperationKind, OperationState, new_operation
from shared.domain.tenants import TRANSITIONS, Tenant, TenantState
from shared.errors import Conflict

NOW = datetime(2026, 2, 28, 12, tzinfo=UTC)
QUARANTINE = timedelta(days=30)


def provisioning_tenant() -> Tenant:
    operation = new_operation(OperationKind.PROVISION, "acme", actor="portal", now=NOW)
    return Tenant(
        slug="acme",
        state=TenantState.PROVISIONING,
        plan="trial",
        region="westeurope",
        version="1.0",
        email="a@example.com",
        display_name="Acme",
        created_at=NOW,
        changed_at=NOW,
        operation=operation,
        cluster="one",
    )


def deletion() -> Operation:
    return new_operation(OperationKind.DELETE, "acme", actor="portal", now=NOW)


def test_a_provisioned_tenant_is_active_and_can_be_deleted() -> None:
    tenant = provisioning_tenant().succeed(NOW, quarantine=QUARANTINE)
    assert (tenant.state, tenant.operation.state) == (TenantState.ACTIVE, OperationState.SUCCEEDED)
    deleting = tenant.begin(deletion(), NOW)
    assert deleting.state is TenantState.DELETING
    tombstone = deleting.succeed(NOW, quarantine=QUARANTINE)
    assert tombstone.state is TenantState.DELETED
    assert (tombstone.email, tombstone.display_name, tombstone.cluster) == ("", "", "")


def test_the_slug_of_a_tombstone_is_free_after_its_quarantine() -> None:
    tenant = provisioning_tenant().fail(NOW)
    tenant = tenant.begin(deletion(), NOW)
    tombstone = tenant.succeed(NOW, quarantine=QUARANTINE)
    assert not tombstone.slug_is_free(NOW + QUARANTINE - timedelta(seconds=1))
    assert tombstone.slug_is_free(NOW + QUARANTINE)


def test_a_busy_tenant_names_the_running_operation() -> None:
    tenant = provisioning_tenant()
    with pytest.raises(Conflict, match=tenant.operation.id):
        tenant.begin(deletion(), NOW)


@given(st.lists(st.sampled_from(["succeed", "fail", "delete"]), max_size=8))
def test_no_order_of_requests_makes_a_move_that_the_lifecycle_does_not_have(calls: list[str]) -> None:
    tenant = provisioning_tenant()
    for call in calls:
        before = tenant
        try:
            match call:
                case "succeed":
                    tenant = tenant.succeed(NOW, quarantine=QUARANTINE)
                case "fail":
                    tenant = tenant.fail(NOW)
                case _:
                    tenant = tenant.begin(deletion(), NOW)
        except Conflict:
            assert tenant is before
        else:
            assert tenant.state in TRANSITIONS[before.state]
            assert tenant.operation.is_open == (tenant.state in (TenantState.DELETING, TenantState.PROVISIONING))
