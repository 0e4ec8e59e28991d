"""What a visitor is told, in every state that a tenant can have, and never anything that others wrote."""

import string
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.domain.lifecycle import OperationKind, StepName, TenantState
from shared.domain.operations import new_operation
from shared.domain.slugs import Slug, check_slug
from shared.domain.tenants import Observed, Tenant
from shared.domain.visits import (
    BACKOFF_SECONDS,
    RETRY_SECONDS,
    Answer,
    Message,
    VisitState,
    answer_for,
    has_address,
    split_host,
)
from shared.errors import Conflict
from tests.support.builders import new_tenant
from tests.support.clock import START

INTERNAL = "secret-node-7 refused"
QUARANTINE = timedelta(days=30)
SECOND = timedelta(seconds=1)
ACTIVE = replace(new_tenant(cluster="one").succeed(START, quarantine=QUARANTINE), observed=Observed(True, "", START))


def begun(tenant: Tenant, kind: OperationKind, now: datetime = START) -> Tenant:
    return tenant.begin(new_operation(kind, Slug("acme"), actor="portal", now=now), now)


def cancelled(tenant: Tenant) -> Tenant:
    return replace(tenant, operation=replace(tenant.operation, cancel_requested=True))


def failed(tenant: Tenant, now: datetime = START) -> Tenant:
    return replace(tenant, operation=tenant.operation.fail_step(now, INTERNAL))


def event(tenant: Tenant, name: str, now: datetime) -> Tenant:
    """Let one thing happen to a tenant; raises Conflict if it cannot."""
    operation = tenant.operation
    match name:
        case "succeed" if not operation.is_aborting:
            tenant = tenant.succeed(now, quarantine=QUARANTINE)
        case "end" if operation.is_aborting:
            tenant = tenant.fail(now)
        case "fail" if operation.is_open and operation.rules.after_failure:
            tenant = failed(tenant, now)
        case "cancel" if operation.is_open and operation.rules.can_be_cancelled:
            tenant = cancelled(tenant)
        case "step" if operation.is_open and not operation.is_aborting:
            pending = [each.name for each in operation.steps if each.started_at is None]
            if pending:
                tenant = replace(tenant, operation=operation.start_step(pending[0], now, INTERNAL))
        case "not ready":
            tenant = replace(tenant, observed=Observed(False, INTERNAL, now))
        case "lose" if not operation.is_open and tenant.state.has_instance:
            tenant = tenant.lose_instance(now, INTERNAL)
        case "restore" if tenant.has_lost_instance:
            tenant = tenant.find_instance_again(now, INTERNAL)
        case _ if name in OperationKind:
            tenant = begun(tenant, OperationKind(name), now)
        case _:
            pass
    return tenant


EVENTS = ["succeed", "end", "fail", "cancel", "step", "not ready", "lose", "restore", *OperationKind]


@st.composite
def tenants(draw: st.DrawFn) -> tuple[Tenant, datetime]:
    """Return a tenant as it can become, and a time; the clock may have been set back."""
    tenant, now = new_tenant(cluster="one"), START
    for name in draw(st.lists(st.sampled_from(EVENTS), max_size=25)):
        now += draw(st.integers(-100, 500)) * SECOND
        with suppress(Conflict):
            tenant = event(tenant, name, now)
    return tenant, now + draw(st.integers(-100, 500)) * SECOND


@given(tenants(), st.one_of(st.none(), st.integers(1, 999)), st.booleans())
def test_every_tenant_has_a_general_and_useful_answer(
    case: tuple[Tenant, datetime], position: int | None, is_held_up: bool
) -> None:
    tenant, now = case
    if not has_address(tenant):
        assert tenant.state in (TenantState.DELETING, TenantState.DELETED)
        return
    answer = answer_for(tenant, now, position=position, is_held_up=is_held_up)
    assert INTERNAL not in answer.message
    assert 1 <= answer.retry_after <= BACKOFF_SECONDS
    assert (answer.percent == 100) == (answer.state is VisitState.OPEN)
    assert (answer.state is VisitState.OPEN) <= (tenant.state is TenantState.ACTIVE)
    assert answer.position in (None, position)
    assert (answer.elapsed_seconds is not None) <= (answer.state is VisitState.OPENING and tenant.operation.is_open)
    assert (answer.state is VisitState.OPENING) <= tenant.operation.is_open or tenant.state is TenantState.ACTIVE


@given(tenants())
def test_a_visit_wakes_only_what_can_be_woken(case: tuple[Tenant, datetime]) -> None:
    tenant, now = case
    if not has_address(tenant) or not answer_for(tenant, now).can_wake:
        return
    operation = tenant.operation
    if operation.is_open:
        assert (operation.kind, operation.is_aborting) == (OperationKind.HIBERNATE, False)  # it is turned round
    else:
        assert begun(tenant, OperationKind.WAKE, now).state is TenantState.WAKING


def test_nobody_is_at_the_address_of_a_deleted_tenant() -> None:
    deleting = begun(ACTIVE, OperationKind.DELETE)
    assert [has_address(each) for each in (ACTIVE, deleting, deleting.succeed(START, quarantine=QUARANTINE))] == [
        *(True, False, False)
    ]


def test_a_wake_tells_how_far_it_is() -> None:
    asleep = begun(ACTIVE, OperationKind.HIBERNATE).succeed(START, quarantine=QUARANTINE)
    assert answer_for(asleep, START) == Answer(state=VisitState.ASLEEP, message=Message.ASLEEP, can_wake=True)
    waking = begun(asleep, OperationKind.WAKE)
    answer = answer_for(waking, START + 7 * SECOND, position=3)
    assert (answer.state, answer.message, answer.position) == (VisitState.OPENING, Message.QUEUED, 3)
    assert (answer.elapsed_seconds, answer.percent, answer.retry_after) == (7, 0, RETRY_SECONDS)
    starting = replace(waking, operation=waking.operation.start_step(StepName.APPLY, START))
    answer = answer_for(starting, START + 9 * SECOND)
    assert (answer.message, answer.position, answer.elapsed_seconds) == (Message.OPENING, None, 9)
    assert 0 < answer.percent < 100
    assert answer_for(waking, START, position=1, is_held_up=True).message is Message.HELD_UP
    assert answer_for(starting.succeed(START, quarantine=QUARANTINE), START).state is VisitState.OPEN


def test_one_that_is_set_up_is_opening() -> None:
    answer = answer_for(new_tenant(), START + 3 * SECOND)
    assert (answer.state, answer.message, answer.elapsed_seconds) == (VisitState.OPENING, Message.SET_UP, 3)


def test_one_that_is_active_but_not_ready_is_opening() -> None:
    unready = replace(ACTIVE, observed=Observed(False, INTERNAL, START))
    answer = answer_for(unready, START)
    assert (answer.state, answer.message, answer.percent) == (VisitState.OPENING, Message.NO_RESPONSE, 99)


def test_one_about_to_sleep_is_asleep_until_it_is_turned_round() -> None:
    falling = begun(ACTIVE, OperationKind.HIBERNATE)
    answer = answer_for(falling, START)
    assert (answer.state, answer.message, answer.can_wake) == (VisitState.ASLEEP, Message.FALLING_ASLEEP, True)
    for turned in (cancelled(falling), failed(falling)):
        answer = answer_for(turned, START)
        assert (answer.state, answer.can_wake) == (VisitState.OPENING, False)


@pytest.mark.parametrize(
    ("seconds", "retry_after", "can_wake"),
    [(0, 60, False), (0.5, 60, False), (59, 1, False), (60, RETRY_SECONDS, True), (-3600, RETRY_SECONDS, True)],
)
def test_a_failed_wake_is_repeated_after_a_while(seconds: float, retry_after: int, can_wake: bool) -> None:
    asleep = begun(ACTIVE, OperationKind.HIBERNATE).succeed(START, quarantine=QUARANTINE)
    for undo, state in ((failed, VisitState.FAILED), (cancelled, VisitState.ASLEEP)):
        failing = undo(begun(asleep, OperationKind.WAKE))
        answer = answer_for(failing, START)
        assert (answer.state, answer.retry_after, answer.can_wake) == (state, BACKOFF_SECONDS, False)
        answer = answer_for(failing.fail(START), START + seconds * SECOND)
        assert (answer.state, answer.retry_after, answer.can_wake) == (state, retry_after, can_wake)


def test_what_no_visit_can_open_has_failed() -> None:
    for tenant in (failed(new_tenant()), failed(new_tenant()).fail(START), ACTIVE.lose_instance(START, INTERNAL)):
        answer = answer_for(tenant, START)
        assert (answer.state, answer.message, answer.can_wake) == (VisitState.FAILED, Message.OUT_OF_ORDER, False)


def test_a_refusal_is_told_as_such() -> None:
    answer = Answer(state=VisitState.ASLEEP, message=Message.ASLEEP, can_wake=True).refused(4.2)
    assert (answer.state, answer.message, answer.retry_after, answer.can_wake) == (
        *(VisitState.ASLEEP, Message.NOT_NOW, 5, False),
    )


@pytest.mark.parametrize(
    ("host", "parts"),
    [
        ("acme.weu-1.example.com", ("acme", "weu-1.example.com")),
        ("ACME.Weu-1.Example.COM", ("acme", "weu-1.example.com")),
        ("acme.weu-1.example.com:443", ("acme", "weu-1.example.com:443")),  # which is no domain of a cluster
        ("acme", ("acme", "")),
        ("", None),
        (".example.com", None),
        ("admin.example.com", None),
        ("-acme.example.com", None),
        ("acme\n.example.com", None),
        ("ac\N{KELVIN SIGN}e.example.com", None),
        ("acme." + "a" * 300, None),
    ],
)
def test_a_host_is_a_slug_and_a_domain(host: str, parts: tuple[str, str] | None) -> None:
    assert split_host(host) == parts


@given(st.text(string.printable + "é\u212a", max_size=60))
@example("acme..example.com")
def test_any_text_is_split_or_refused(host: str) -> None:
    parts = split_host(host)
    if parts is not None:
        assert check_slug(parts[0]) is None
        assert f"{parts[0]}.{parts[1]}".removesuffix(".") == host.lower().removesuffix(".")
