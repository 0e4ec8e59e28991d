"""The rule of dormancy: who is put to sleep, who is not, and who is unknown."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.dormancy import MARGIN, RECHECK, VISITED_DAYS, Decision, Outcome, Signal, Window, decide
from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.operations import new_operation
from shared.domain.policy import DormancyPolicy
from shared.domain.tenants import Tenant
from shared.domain.visits import VISITOR
from tests.support.builders import new_tenant
from tests.support.clock import START

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
POLICY = DormancyPolicy(idle_days=7, never_active_days=14)
NOW = START + 60 * DAY
ACTIVE = new_tenant().succeed(START, quarantine=DAY)  # 60 days ago


def watching(last: datetime | None = None, *, now: datetime = NOW, **fields: Any) -> Signal:
    """Return a required source that has watched for 30 days, until 5 minutes ago."""
    usual: dict[str, Any] = {"watched": Window(now - 30 * DAY, now - 5 * MINUTE), "required": True}
    return Signal("prometheus", last, **(usual | fields))


def decided(
    *signals: Signal, tenant: Tenant = ACTIVE, policy: DormancyPolicy = POLICY, now: datetime = NOW
) -> Decision:
    return decide(tenant, signals, policy, now)


def woken(since: datetime, actor: str) -> Tenant:
    """Return a tenant that somebody has woken."""
    asleep = replace(ACTIVE, state=TenantState.HIBERNATED)
    operation = new_operation(OperationKind.WAKE, ACTIVE.slug, actor=actor, now=since)
    return asleep.begin(operation, since).succeed(since, quarantine=DAY)


def test_one_that_was_used_lately_stays_awake() -> None:
    decision = decided(watching(NOW - 2 * DAY))
    assert decision.outcome is Outcome.KEEP
    assert decision.reason == "it was last used 2.0 days ago (prometheus); it may sleep from 2026-05-04 12:15 UTC on"
    assert (decision.last_activity_at, decision.seen_by) == (NOW - 2 * DAY, "prometheus")
    assert decision.due_at == decision.next_due == NOW + 5 * DAY + MARGIN


def test_one_that_is_idle_sleeps() -> None:
    decision = decided(watching(NOW - 8 * DAY))
    assert decision.outcome is Outcome.HIBERNATE
    assert decision.reason == "it was last used 8.0 days ago (prometheus), and 7 days are allowed"
    assert (decision.threshold_days, decision.due_at) == (7, NOW - DAY + MARGIN)


def test_one_that_nobody_ever_used_has_longer() -> None:
    young = replace(ACTIVE, active_since=NOW - 10 * DAY)
    decision = decided(watching(), tenant=young)
    assert decision.outcome is Outcome.KEEP
    assert decision.reason == (
        "nobody has used it in the 10.0 days since it became active; it may sleep from 2026-05-03 12:00 UTC on"
    )
    assert decision.next_due == NOW + 4 * DAY
    old = replace(ACTIVE, active_since=NOW - 14 * DAY)
    decision = decided(watching(), tenant=old)
    assert (decision.outcome, decision.threshold_days) == (Outcome.HIBERNATE, 14)
    assert decision.reason == ("nobody has used it in the 14.0 days since it became active, and 14 days are allowed")


def test_a_young_instance_is_never_idle() -> None:
    young = replace(ACTIVE, active_since=NOW - 10 * DAY)  # the first retry, or a tenant that was used at once
    decision = decided(watching(NOW - 9 * DAY), tenant=young)
    assert (decision.outcome, decision.threshold_days) == (Outcome.KEEP, 14)
    later = decided(watching(NOW - 9 * DAY), tenant=replace(ACTIVE, active_since=NOW - 15 * DAY))
    assert later.reason == "it was last used 9.0 days ago (prometheus), and 7 days are allowed"


def test_without_a_known_start_the_last_change_counts() -> None:
    old_row = replace(ACTIVE, active_since=None, changed_at=NOW - DAY)
    assert decided(watching(), tenant=old_row).next_due == NOW + 13 * DAY


@pytest.mark.parametrize(
    ("signals", "reason"),
    [
        ((), "no source watches for activity"),
        ((Signal("heartbeat", NOW - 9 * DAY),), "no source watches for activity"),
        ((watching(required=False),), "no source watches for activity"),
        ((watching(watched=None),), "prometheus has not watched it"),
        ((watching(watched=Window(START, NOW - 31 * MINUTE)),), "prometheus is away since 2026-04-29 11:29 UTC"),
        (
            (watching(NOW - 8 * DAY, watched=Window(NOW - 3 * DAY, NOW)),),
            "prometheus has watched without a gap only since 2026-04-26 12:00 UTC",
        ),
        (
            (watching(watched=Window(START, NOW + 16 * MINUTE)),),
            "the clock of prometheus is ahead, at 2026-04-29 12:16 UTC",
        ),
        (
            (watching(), Signal("agent", required=True)),
            "agent has not watched it",
        ),
    ],
)
def test_silence_that_proves_nothing_is_unknown(signals: tuple[Signal, ...], reason: str) -> None:
    decision = decided(*signals)
    assert decision.outcome is Outcome.UNKNOWN
    assert decision.reason.endswith(f", but {reason}")
    assert decision.next_due is not None
    assert decision.next_due >= NOW + RECHECK


def test_every_source_that_is_in_doubt_is_named() -> None:
    decision = decided(watching(watched=None), replace(watching(watched=None), source="agent"))
    assert decision.reason.endswith("prometheus has not watched it; agent has not watched it")


def test_after_a_gap_the_next_date_is_when_it_is_bridged() -> None:
    decision = decided(watching(NOW - 8 * DAY, watched=Window(NOW - 3 * DAY, NOW)))
    assert decision.next_due == NOW + 4 * DAY + MARGIN


def test_a_gap_before_the_time_that_counts_does_not_matter() -> None:
    last = watching(NOW - 20 * DAY, watched=Window(NOW - 7 * DAY - MARGIN, NOW))
    assert decided(last).outcome is Outcome.HIBERNATE


def test_what_was_unseen_may_have_been_activity() -> None:
    # Watched for longer than idle_days, but not since the start: it may have been used once, or never.
    assert decided(watching(watched=Window(NOW - 10 * DAY, NOW))).outcome is Outcome.UNKNOWN
    assert decided(watching(watched=Window(NOW - 14 * DAY - MARGIN, NOW))).outcome is Outcome.HIBERNATE

    short = replace(POLICY, never_active_days=3)
    assert decided(watching(watched=Window(NOW - 4 * DAY, NOW)), policy=short).outcome is Outcome.UNKNOWN


def test_activity_counts_whoever_saw_it() -> None:
    seen = Signal("heartbeat", NOW - DAY)
    decision = decided(watching(NOW - 20 * DAY), seen)
    assert (decision.outcome, decision.seen_by) == (Outcome.KEEP, "heartbeat")
    assert decided(seen).outcome is Outcome.KEEP  # no need to watch for what was seen


def test_an_exempt_tenant_never_sleeps() -> None:
    decision = decided(watching(), policy=replace(POLICY, exempt=True))
    assert (decision.outcome, decision.reason) == (Outcome.KEEP, "its policy exempts it")
    assert (decision.due_at, decision.next_due) == (None, None)


def test_a_tenant_can_be_kept_awake_until_a_date() -> None:
    until = NOW + 3 * DAY
    decision = decided(watching(), policy=replace(POLICY, keep_awake_until=until))
    assert (decision.outcome, decision.due_at, decision.next_due) == (Outcome.KEEP, until, until)
    assert decision.reason == "it is to stay awake until 2026-05-02 12:00 UTC"
    assert decided(watching(), policy=replace(POLICY, keep_awake_until=NOW)).outcome is Outcome.HIBERNATE


def test_a_busy_tenant_stays_as_it_is() -> None:
    operation = new_operation(OperationKind.DELETE, ACTIVE.slug, actor="portal", now=NOW)
    decision = decided(watching(), tenant=ACTIVE.begin(operation, NOW))
    assert decision.outcome is Outcome.KEEP
    assert decision.reason == f"operation {operation.id} (delete) is running"
    assert decision.next_due == NOW + RECHECK


@pytest.mark.parametrize("state", [state for state in TenantState if state is not TenantState.ACTIVE])
def test_only_an_active_tenant_is_put_to_sleep(state: TenantState) -> None:
    decision = decided(watching(), tenant=replace(ACTIVE, state=state))
    assert (decision.outcome, decision.reason) == (Outcome.KEEP, f"it is {state}")


def test_activity_in_the_future_counts_as_now() -> None:
    decision = decided(watching(NOW + 300 * DAY))
    assert (decision.outcome, decision.last_activity_at) == (Outcome.KEEP, NOW)


@pytest.mark.parametrize("jump", [-400 * DAY, -DAY, -MINUTE * 31, MINUTE * 31, DAY, 400 * DAY])
def test_a_clock_that_jumps_makes_nobody_idle(jump: timedelta) -> None:
    assert decided(watching(NOW - 8 * DAY), now=NOW + jump).outcome is not Outcome.HIBERNATE


# Hours before NOW, some of them in the future.
HOURS = st.integers(-100, 24 * 40)
TIMES = HOURS.map(lambda hours: NOW - timedelta(hours=hours))
SIGNALS = st.builds(
    Signal,
    source=st.sampled_from(["prometheus", "agent", "heartbeat"]),
    last_activity_at=st.none() | TIMES,
    watched=st.none() | st.builds(Window, TIMES, st.sampled_from([NOW, NOW - 29 * MINUTE, NOW - DAY, NOW + DAY])),
    required=st.booleans(),
)
POLICIES = st.builds(
    DormancyPolicy,
    idle_days=st.integers(1, 20),
    never_active_days=st.integers(1, 20),
    exempt=st.sampled_from([False, False, False, True]),
    keep_awake_until=st.none() | TIMES,
)
TENANTS = TIMES.map(lambda since: replace(ACTIVE, active_since=since)) | TIMES.flatmap(
    lambda since: st.sampled_from([VISITOR, "portal"]).map(lambda actor: woken(since, actor))
)
CASES = st.tuples(TENANTS, st.lists(SIGNALS, max_size=4), POLICIES)

type Case = tuple[Tenant, list[Signal], DormancyPolicy]


@given(CASES)
def test_nobody_sleeps_without_proof(case: Case) -> None:
    tenant, signals, policy = case
    decision = decide(tenant, signals, policy, NOW)
    if decision.outcome is not Outcome.HIBERNATE:
        return
    idle = timedelta(days=policy.idle_days)
    assert not policy.exempt
    assert policy.keep_awake_until is None or policy.keep_awake_until <= NOW
    assert all(each.last_activity_at is None or each.last_activity_at < NOW - idle for each in signals)
    required = [each for each in signals if each.required]
    assert required
    for each in required:
        assert each.watched is not None
        assert NOW - each.fresh_for <= each.watched.until <= NOW + MARGIN
        assert each.watched.since <= max(NOW - idle, tenant.active_since or NOW)


@given(CASES, TIMES, st.sampled_from(["prometheus", "heartbeat", "new"]))
def test_an_activity_puts_nobody_to_sleep(case: Case, at: datetime, source: str) -> None:
    tenant, signals, policy = case
    before = decide(tenant, signals, policy, NOW)
    after = decide(tenant, [*signals, Signal(source, at)], policy, NOW)
    if before.outcome is Outcome.KEEP:
        assert after.outcome is Outcome.KEEP
    if before.due_at is not None:
        assert after.due_at is not None
        assert after.due_at >= before.due_at


@given(CASES, st.integers(1, 24 * 60))
def test_who_is_idle_stays_idle_until_used(case: Case, hours: int) -> None:
    tenant, signals, policy = case
    later = NOW + timedelta(hours=hours)
    watched = [
        replace(each, watched=each.watched and replace(each.watched, until=later))
        for each in signals
        if each.last_activity_at is None or each.last_activity_at <= NOW
    ]
    now = [replace(each, watched=each.watched and replace(each.watched, until=NOW)) for each in watched]
    if decide(tenant, now, policy, NOW).outcome is Outcome.HIBERNATE:
        assert decide(tenant, watched, policy, later).outcome is Outcome.HIBERNATE


@given(CASES)
def test_what_is_not_done_now_is_due_later(case: Case) -> None:
    tenant, signals, policy = case
    decision = decide(tenant, signals, policy, NOW)
    if decision.outcome is Outcome.HIBERNATE:
        assert decision.due_at is not None
        assert decision.due_at <= NOW
    elif not policy.exempt:
        assert decision.next_due is not None
        assert decision.next_due > NOW


@given(CASES)
def test_a_reason_is_one_line_with_its_numbers(case: Case) -> None:
    tenant, signals, policy = case
    decision = decide(tenant, signals, policy, NOW)
    assert decision.reason
    assert "\n" not in decision.reason
    assert decision.threshold_days in (policy.idle_days, policy.never_active_days, VISITED_DAYS)


def test_a_woken_tenant_gets_its_idle_days_again() -> None:
    woken = replace(ACTIVE, state_since=NOW - timedelta(hours=1))
    signal = watching(NOW - 29 * DAY)
    decision = decided(signal, tenant=woken)
    assert (decision.outcome, decision.due_at) == (Outcome.KEEP, woken.state_since + 7 * DAY)
    assert decided(signal, tenant=replace(woken, state_since=NOW - 8 * DAY)).outcome is Outcome.HIBERNATE


def test_a_visitor_keeps_a_tenant_awake_for_a_day() -> None:
    signal = watching(NOW - 29 * DAY)
    visited = woken(NOW - timedelta(hours=12), VISITOR)
    decision = decided(signal, tenant=visited)
    assert (decision.outcome, decision.due_at) == (Outcome.KEEP, visited.state_since + DAY)
    assert decision.threshold_days == VISITED_DAYS == 1
    assert decision.reason == (
        "it was last used 29.0 days ago (prometheus), a visitor woke it 0.5 days ago (which counts for 1 day); "
        "it may sleep from 2026-04-30 00:00 UTC on"
    )
    decision = decided(signal, tenant=woken(NOW - 2 * DAY, VISITOR))
    assert decision.outcome is Outcome.HIBERNATE
    assert "a visitor woke it 2.0 days ago" in decision.reason
    assert "a visitor woke it" in decided(watching(), tenant=visited).reason


def test_a_visitor_who_stays_gets_the_idle_days() -> None:
    visited = woken(NOW - 2 * DAY, VISITOR)
    decision = decided(watching(visited.state_since + MINUTE), tenant=visited)
    assert (decision.outcome, decision.threshold_days) == (Outcome.KEEP, 7)
    assert decision.due_at == visited.state_since + MINUTE + 7 * DAY + MARGIN
    assert "visitor" not in decision.reason


def test_what_comes_after_a_visit_gets_the_idle_days() -> None:
    signal, visited = watching(NOW - 29 * DAY), woken(NOW - 9 * DAY, VISITOR)
    restored = replace(visited, state_since=NOW - 2 * DAY)  # its instance was lost meanwhile
    turned = replace(restored, operation=replace(visited.operation, kind=OperationKind.HIBERNATE))
    for tenant in (restored, turned, woken(NOW - 2 * DAY, "portal")):
        assert decided(signal, tenant=tenant).due_at == NOW + 5 * DAY
