"""The table of the life cycle: it is complete, and only what must remove data may."""

import pytest

from shared.domain.lifecycle import RULES, OperationKind, StepName, TenantState, rules_of
from shared.errors import Permanent

DURING = {rules.during for rules in RULES.values()}


def moves() -> set[tuple[TenantState | None, TenantState]]:
    """Return every move of the table, as pairs of states."""
    found: set[tuple[TenantState | None, TenantState]] = set()
    for rules in RULES.values():
        found |= {(state, rules.during) for state in rules.starts_from}
        ends = (rules.after_success, rules.after_failure, rules.after_cancel)
        found |= {(rules.during, state) for state in ends if state is not None}
    return found


def test_the_table_has_the_moves_of_the_picture() -> None:
    assert moves() == {
        (None, TenantState.PROVISIONING),
        (TenantState.PROVISIONING, TenantState.ACTIVE),
        (TenantState.PROVISIONING, TenantState.FAILED),
        (TenantState.FAILED, TenantState.PROVISIONING),
        (TenantState.ACTIVE, TenantState.HIBERNATING),
        (TenantState.HIBERNATING, TenantState.HIBERNATED),
        (TenantState.HIBERNATING, TenantState.ACTIVE),
        (TenantState.HIBERNATED, TenantState.WAKING),
        (TenantState.WAKING, TenantState.ACTIVE),
        (TenantState.WAKING, TenantState.HIBERNATED),
        (TenantState.ACTIVE, TenantState.DELETING),
        (TenantState.HIBERNATED, TenantState.DELETING),
        (TenantState.FAILED, TenantState.DELETING),
        (TenantState.DELETING, TenantState.DELETED),
    }


def test_every_kind_has_rules_with_steps() -> None:
    assert set(RULES) == set(OperationKind)
    for rules in RULES.values():
        assert rules.steps
        assert len(set(rules.steps)) == len(rules.steps)


def test_every_state_but_deleted_can_be_left() -> None:
    assert {before for before, _ in moves()} - {None} == set(TenantState) - {TenantState.DELETED}
    assert {after for _, after in moves()} == set(TenantState)


def test_no_operation_starts_during_another() -> None:
    assert not any(rules.starts_from & DURING for rules in RULES.values())


def test_no_operation_ends_in_a_state_of_open_ones() -> None:
    for rules in RULES.values():
        assert not {rules.after_success, rules.after_failure, rules.after_cancel} & DURING


def test_only_provisioning_compensates_by_removal() -> None:
    compensating = {kind for kind, rules in RULES.items() if rules.compensation is StepName.REMOVE}
    assert compensating == {OperationKind.PROVISION}


def test_only_a_removal_may_remove_data() -> None:
    may = {kind for kind, rules in RULES.items() if rules.includes(StepName.REMOVE)}
    assert may == {OperationKind.PROVISION, OperationKind.DELETE}


def test_only_provisioning_makes_an_instance() -> None:
    assert {kind for kind, rules in RULES.items() if rules.makes_instance} == {OperationKind.PROVISION}


def test_a_kind_without_rules_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.domain.lifecycle.RULES", {})
    with pytest.raises(Permanent, match="no rules"):
        rules_of(OperationKind.PROVISION)
