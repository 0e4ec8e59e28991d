"""A tenant's moves, and that two operations never run on one tenant."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.lifecycle import RULES, OperationKind, StepName, TenantState
from shared.domain.operations import Operation, OperationState, new_operation
from shared.domain.slugs import Slug
from shared.errors import Conflict
from tests.support.builders import PLANS, new_tenant
from tests.support.clock import START

QUARANTINE = timedelta(days=30)


def operation(kind: OperationKind) -> Operation:
    return new_operation(kind, Slug("acme"), actor="portal", now=START)


def test_a_provisioned_tenant_is_active_and_can_be_deleted() -> None:
    tenant = new_tenant(cluster="one").succeed(START, quarantine=QUARANTINE)
    assert (tenant.state, tenant.operation.state) == (TenantState.ACTIVE, OperationState.SUCCEEDED)
    assert tenant.active_since == START
    deleting = tenant.begin(operation(OperationKind.DELETE), START)
    assert deleting.state is TenantState.DELETING
    tombstone = deleting.succeed(START, quarantine=QUARANTINE)
    assert tombstone.state is TenantState.DELETED
    assert (tombstone.email, tombstone.display_name, tombstone.cluster) == ("", "", "")
    assert tombstone.active_since is None
    assert (deleting.operation.actor, tombstone.operation.actor) == ("portal", "")


def test_only_what_is_or_becomes_active_may_run() -> None:
    queued = new_tenant(cluster="one")
    assert not queued.may_run(queued.instance)
    starting = replace(queued, operation=queued.operation.start_step(StepName.APPLY, START))
    active = starting.succeed(START, quarantine=QUARANTINE)
    assert starting.may_run(starting.instance)
    assert active.may_run(active.instance)
    assert not active.may_run(new_tenant().instance)
    aborting = replace(starting, operation=replace(starting.operation, reason="too slow"))
    deleting = active.begin(operation(OperationKind.DELETE), START)
    for tenant in (aborting, aborting.fail(START), deleting, deleting.succeed(START, quarantine=QUARANTINE)):
        assert not tenant.may_run(starting.instance)


def test_a_slug_is_free_after_its_quarantine() -> None:
    tenant = new_tenant().succeed(START, quarantine=QUARANTINE).begin(operation(OperationKind.DELETE), START)
    tombstone = tenant.succeed(START, quarantine=QUARANTINE)
    assert not tombstone.slug_is_free(START + QUARANTINE - timedelta(seconds=1))
    assert tombstone.slug_is_free(START + QUARANTINE)


def test_a_slug_that_was_never_active_is_free_at_once() -> None:
    tenant = new_tenant().fail(START).begin(operation(OperationKind.DELETE), START)
    assert tenant.succeed(START, quarantine=QUARANTINE).slug_is_free(START)


def test_a_busy_tenant_names_the_running_operation() -> None:
    tenant = new_tenant()
    with pytest.raises(Conflict, match=rf"{tenant.operation.id} .* wait until it has ended, or cancel it$"):
        tenant.begin(operation(OperationKind.DELETE), START)


def test_what_is_ending_already_is_only_waited_for() -> None:
    provisioning = new_tenant()
    cancelled = replace(provisioning, operation=replace(provisioning.operation, cancel_requested=True))
    failing = replace(provisioning, operation=provisioning.operation.fail_step(START, "no such image"))
    deleting = provisioning.fail(START).begin(operation(OperationKind.DELETE), START)
    for tenant in (cancelled, failing, deleting):
        with pytest.raises(Conflict, match=r"wait until it has ended$"):
            tenant.begin(operation(OperationKind.DELETE), START)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (OperationKind.PROVISION, "acme is deleted; only failed tenants can be retried"),
        (OperationKind.DELETE, "acme is deleted; only active, failed or hibernated tenants can be deleted"),
    ],
)
def test_a_wrong_state_is_told_in_words(kind: OperationKind, sentence: str) -> None:
    deleting = new_tenant().fail(START).begin(operation(OperationKind.DELETE), START)
    with pytest.raises(Conflict, match=f"^{sentence}$"):
        deleting.succeed(START, quarantine=QUARANTINE).begin(operation(kind), START)


def test_a_deletion_never_fails() -> None:
    tenant = new_tenant().fail(START).begin(operation(OperationKind.DELETE), START)
    with pytest.raises(Conflict, match="retried until it succeeds"):
        tenant.fail(START)


@given(st.lists(st.sampled_from(["succeed", "fail", *OperationKind]), max_size=8))
def test_every_move_is_one_of_the_table(calls: list[str]) -> None:
    tenant = new_tenant()
    for call in calls:
        before = tenant
        try:
            match call:
                case "succeed":
                    tenant = tenant.succeed(START, quarantine=QUARANTINE)
                    assert tenant.state is before.operation.rules.after_success
                case "fail":
                    tenant = tenant.fail(START)
                    assert tenant.state is before.operation.rules.after_failure
                case kind:
                    tenant = tenant.begin(operation(OperationKind(kind)), START)
                    assert before.state in tenant.operation.rules.starts_from
                    assert tenant.state is tenant.operation.rules.during
        except Conflict:
            assert tenant is before
        assert tenant.operation.is_open == (tenant.state in {rules.during for rules in RULES.values()})


def test_a_wake_that_fails_leaves_the_size() -> None:
    large = PLANS["business"].size
    active = new_tenant(cluster="one").succeed(START, quarantine=QUARANTINE)
    asleep = active.begin(operation(OperationKind.HIBERNATE), START).succeed(START, quarantine=QUARANTINE)
    waking = asleep.begin(operation(OperationKind.WAKE), START)
    waking = waking.placed(waking.cluster, waking.instance, large, START, "queued")
    for ended, size in ((waking.succeed(START, quarantine=QUARANTINE), large), (waking.fail(START), active.size)):
        assert ended.transition is not None
        assert ended.transition.after is not None
        assert ended.transition.after.size == ended.size == size
        assert ended.next_size is None
