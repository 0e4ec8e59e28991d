"""Operations: ids, steps, percent, and that no order of calls breaks them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.failures import FailureClass
from shared.domain.lifecycle import OperationKind, StepName
from shared.domain.operations import (
    Operation,
    OperationState,
    StepState,
    new_operation,
    new_operation_id,
    slug_of,
)
from shared.domain.slugs import Slug

ACME = Slug("acme")
NOW = datetime(2026, 2, 28, 12, tzinfo=UTC)
OPEN = (OperationState.QUEUED, OperationState.RUNNING)


def provisioning(now: datetime = NOW) -> Operation:
    return new_operation(OperationKind.PROVISION, ACME, actor="portal", now=now)


def test_an_id_names_its_tenant_and_sorts_newest_first() -> None:
    older, newer = new_operation_id(ACME, NOW), new_operation_id(ACME, NOW + timedelta(milliseconds=1))
    assert slug_of(older) == "acme"
    assert newer < older
    assert new_operation_id(ACME, NOW) != older


@pytest.mark.parametrize("text", ["", ".", "acme", "acme.", "acme.short", "acme." + "i" * 20, "acme." + "0" * 21])
def test_what_is_no_id_has_no_slug(text: str) -> None:
    assert slug_of(text) == ""


@pytest.mark.parametrize(
    "slug", ["a/b", "a\\b", "a#b", "a?b", "a\0", "a\n", "a' or 1 eq 1", "A", "\u0430", "a" * 64, ""]
)
def test_what_cannot_be_a_table_key_is_no_slug(slug: str) -> None:
    assert slug_of(f"{slug}.{'0' * 20}") == ""


def test_steps_run_one_after_another_with_their_times() -> None:
    operation = (
        provisioning()
        .start_step(StepName.PLACE, NOW)
        .start_step(StepName.APPLY, NOW + timedelta(seconds=2), "applying")
    )
    assert operation.state is OperationState.RUNNING
    assert [step.state for step in operation.steps] == [StepState.DONE, StepState.RUNNING, StepState.PENDING]
    assert operation.step(StepName.PLACE).seconds == 2
    assert operation.step(StepName.APPLY).message == "applying"
    assert operation.percent == 50


@given(st.floats(-1e6, 1e6))
def test_a_stepped_clock_gives_no_negative_seconds(step: float) -> None:
    later = NOW + timedelta(seconds=step)
    operation = provisioning().start_step(StepName.PLACE, NOW).start_step(StepName.APPLY, later)
    ended = operation.finish(OperationState.SUCCEEDED, later)
    assert ended.step(StepName.PLACE).seconds == ended.total_seconds == pytest.approx(max(0.0, step), abs=1e-5)
    assert operation.heartbeat_age(NOW) == pytest.approx(abs(step), abs=1e-5)


def test_a_repeated_step_keeps_its_start() -> None:
    operation = provisioning().start_step(StepName.PLACE, NOW, "first")
    again = operation.start_step(StepName.PLACE, NOW + timedelta(seconds=9), "second")
    assert again.steps == operation.steps
    assert again.heartbeat_at > operation.heartbeat_at


def test_an_earlier_step_begun_again_ends_no_later_one() -> None:
    operation = provisioning().start_step(StepName.PLACE, NOW).start_step(StepName.APPLY, NOW, "applying")
    later = NOW + timedelta(seconds=9)
    again = operation.start_step(StepName.PLACE, later, "placing").start_step(StepName.APPLY, later, "applying again")
    assert again.steps == operation.steps
    assert again.heartbeat_at == later


def test_a_failed_step_skips_the_rest_and_cleaning_up_is_a_step() -> None:
    operation = provisioning().start_step(StepName.PLACE, NOW).fail_step(NOW, "no room")
    operation = operation.start_step(StepName.REMOVE, NOW)
    ended = operation.finish(OperationState.FAILED, NOW + timedelta(seconds=1))
    assert [(step.name, step.state) for step in ended.steps] == [
        (StepName.PLACE, StepState.FAILED),
        (StepName.APPLY, StepState.SKIPPED),
        (StepName.START, StepState.SKIPPED),
        (StepName.REMOVE, StepState.DONE),
    ]
    assert ended.reason == "no room"
    assert ended.percent == 100


def test_queueing_is_apart_from_work() -> None:
    operation = provisioning().start_step(StepName.PLACE, NOW + timedelta(seconds=3))
    assert operation.queued_seconds == 3


@given(
    st.sampled_from(OperationKind),
    st.integers(0, 3),
    st.sampled_from(["goes on", "fails", "is cancelled", "is cancelled and fails"]),
    st.integers(0, 2),
)
def test_percent_never_falls(kind: OperationKind, started: int, then: str, removals: int) -> None:
    operation = new_operation(kind, ACME, actor="portal", now=NOW)
    life = [operation]
    for name in operation.rules.steps[:started]:
        life += [life[-1].start_step(name, NOW), life[-1].start_step(name, NOW).with_message("waiting", NOW)]
    if "cancelled" in then:
        life.append(replace(life[-1], cancel_requested=True))
    if "fails" in then:
        life.append(life[-1].fail_step(NOW, "the image cannot be pulled"))
    for _ in range(removals):
        life.append(life[-1].start_step(StepName.REMOVE, NOW))
    percents = [each.percent for each in life]
    assert percents == sorted(percents)
    assert percents[-1] < 100
    assert all(life[-1].finish(state, NOW).percent == 100 for state in OperationState if state not in OPEN)


def test_percent_of_a_cancelled_provisioning() -> None:
    operation = provisioning()
    for name in (StepName.PLACE, StepName.APPLY, StepName.START):
        operation = operation.start_step(name, NOW)
    failed = operation.fail_step(NOW, "cancelled")
    removing = failed.start_step(StepName.REMOVE, NOW)
    ended = removing.finish(OperationState.CANCELLED, NOW)
    assert [each.percent for each in (operation, failed, removing, ended)] == [83, 83, 99, 100]


@settings(max_examples=50)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("begin"), st.sampled_from(StepName)),
            st.tuples(st.just("say"), st.text(max_size=5)),
            st.tuples(st.just("stop"), st.text(min_size=1, max_size=5)),
        ),
        max_size=12,
    )
)
def test_any_order_of_calls_runs_one_step_at_most(
    calls: list[tuple[str, StepName | str]],
) -> None:
    operation, now = provisioning(), NOW
    for call, argument in calls:
        now, before = now + timedelta(seconds=1), operation.percent
        match call, argument:
            case "begin", StepName() as name:
                operation = operation.start_step(name, now)
            case "say", text:
                operation = operation.with_message(str(text), now)
            case _, text:
                operation = operation.fail_step(now, str(text))
        assert sum(step.state is StepState.RUNNING for step in operation.steps) <= 1
        assert before <= operation.percent < 100
        assert len({step.name for step in operation.steps}) == len(operation.steps)
    ended = operation.finish(OperationState.SUCCEEDED, now)
    assert ended.percent == 100
    assert all(step.state not in (StepState.RUNNING, StepState.PENDING) for step in ended.steps)
    assert all(step.seconds is None or step.seconds >= 0 for step in ended.steps)


def test_the_class_of_the_first_failure_stays() -> None:
    failed = provisioning().start_step(StepName.PLACE, NOW).fail_step(NOW, "no such image", FailureClass.IMAGE)
    again = failed.start_step(StepName.REMOVE, NOW).fail_step(NOW, "not removed", FailureClass.TIMEOUT)
    assert (again.failure, again.reason) == (FailureClass.IMAGE, "not removed")
