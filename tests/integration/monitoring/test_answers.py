"""What queries answer, on rows that a test makes up."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.monitoring.queries import read_queries
from shared.telemetry import metrics
from tests.support.kusto.engine import Workspace
from tests.support.kusto.envelopes import Row
from tests.support.kusto.rows import event, metric, span, workspace_of

QUERIES = read_queries()
NOW = datetime(2026, 10, 31, 12, tzinfo=UTC)


def ago(**duration: float) -> datetime:
    return NOW - timedelta(**duration)


def ask(name: str, *rows: Row, **values: str) -> list[Row]:
    return Workspace(workspace_of(*rows)).run(QUERIES[name].filled(values), now=NOW)


def columns(rows: Sequence[Row], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in rows]


def operation(kind: str, at: datetime, seconds: float, tenant: str = "acme", **attributes: Any) -> Row:
    given: dict[str, Any] = {"outcome": "succeeded", "operation": f"{tenant}.1", **attributes}
    return span("operation", at, seconds, kind=kind, tenant=tenant, **given)


def test_the_slowest_signups_with_their_slowest_step() -> None:
    steps = [
        span("step", ago(hours=1), seconds, kind="provision", step=step, operation=f"{tenant}.1")
        for tenant, step, seconds in (
            ("a", "apply", 2.0),
            ("a", "start", 9.0),
            ("b", "place", 5.0),
            ("b", "start", 3.0),
        )
    ]
    signups = [operation("provision", ago(hours=1), seconds, tenant) for tenant, seconds in (("b", 8.0), ("a", 11.0))]
    others = [operation("wake", ago(hours=1), 60.0, "c"), operation("provision", ago(hours=25), 60.0, "d")]
    found = ask("slowest-operations", *steps, *signups, *others)
    assert columns(found, "tenant", "seconds", "slowest_step", "step_seconds") == [
        ("a", 11.0, "start", 9.0),
        ("b", 8.0, "place", 5.0),
    ]


def test_quantiles_by_day_are_of_what_succeeded() -> None:
    day = [operation("provision", ago(days=1, seconds=each), float(each)) for each in range(1, 101)]
    failed = operation("provision", ago(days=1), 500.0, outcome="failed")
    found = ask("durations-by-day", *day, failed, operation("wake", ago(hours=1), 3.0))
    assert columns(found, "day", "operation_kind", "operations") == [
        (datetime(2026, 10, 30, tzinfo=UTC), "provision", 100),
        (datetime(2026, 10, 31, tzinfo=UTC), "wake", 1),
    ]
    assert [found[0][each] for each in ("p50", "p95", "p99")] == pytest.approx([50, 95, 99], abs=1)


def test_what_is_sampled_counts_for_what_was_left_out() -> None:
    found = ask("durations-by-day", span("operation", ago(hours=1), 2.0, number=10, kind="wake", outcome="succeeded"))
    assert columns(found, "operations") == [(10,)]


def test_what_is_stuck_has_no_end() -> None:
    lost = "orchestration lost"
    rows = [
        event(lost, ago(hours=2), tenant="a", operation="a.1", kind="provision"),
        event(lost, ago(hours=1), tenant="a", operation="a.1", kind="provision"),
        event(lost, ago(hours=1), tenant="b", operation="b.1", kind="wake"),
        event("orchestration stuck", ago(minutes=9), tenant="c", operation="c.1", kind="delete"),
        event(
            "orchestration not restarted: it needs an operator",
            *(ago(minutes=5),), level=3, tenant="c", operation="c.1", kind="delete",
        ),
        operation("wake", ago(hours=1), 300.0, "b"),
    ]  # fmt: skip
    found = ask("stuck", *rows)
    assert columns(found, "tenant", "restarts", "needs_operator") == [("c", 1, True), ("a", 2, False)]


def test_the_last_count_of_open_operations_counts() -> None:
    counted = [(5, 4.0, 1.0), (1, 2.0, 0.0)]
    rows = [
        metric(of, ago(minutes=minutes), value, kind="provision")
        for minutes, *values in counted
        for of, value in zip((metrics.OPEN_OPERATIONS, metrics.STUCK_OPERATIONS), values, strict=True)
    ]
    assert columns(ask("open-now", *rows), "operation_kind", "open", "stuck") == [("provision", 2.0, 0.0)]


def test_the_queues_of_clusters() -> None:
    at = ago(minutes=1)
    rows = [
        metric(metrics.SLOTS_USED, at, 64.0, cluster="one"),
        metric(metrics.SLOTS_LIMIT, at, 64.0, cluster="one"),
        metric(metrics.QUEUE_LENGTH, ago(minutes=3), 99.0, cluster="one", kind="provision"),
        metric(metrics.QUEUE_LENGTH, at, 7.0, cluster="one", kind="provision"),
        metric(metrics.QUEUE_LENGTH, at, 2.0, cluster="one", kind="wake"),
    ]
    found = ask("queues-now", *rows)
    assert columns(found, "cluster", "slots_used", "slots", "signups_waiting", "wakes_waiting") == [
        ("one", 64.0, 64.0, 7.0, 2.0)
    ]


def test_the_wait_in_queues() -> None:
    rows = [
        metric(metrics.QUEUE_WAIT, ago(minutes=each), 30.0, number=3, highest=20.0 + each, kind="wake")
        for each in (1, 2)
    ]
    found = ask("queue-waits", *rows)
    assert sum(row["operations"] for row in found) == 6
    assert {(row["mean"], row["operation_kind"]) for row in found} == {(10.0, "wake")}
    assert max(row["longest"] for row in found) == 22.0


def test_a_refused_sweep_says_why() -> None:
    rows = [
        event("sweep begun", ago(hours=9), sweep="sweep-2026-10-31", dry_run="False"),
        event(
            "sweep refused",
            ago(hours=8),
            level=3,
            sweep="sweep-2026-10-31",
            reason="a source was silent",
            hibernate="9",
        ),
        event("no sweep", ago(days=1), level=2, cause="sweeps are switched off"),
    ]
    assert columns(ask("sweeps", *rows), "what", "reason") == [
        ("sweep refused", "a source was silent"),
        ("sweep begun", ""),
        ("no sweep", "sweeps are switched off"),
    ]


def test_decisions_of_sweeps_add_up() -> None:
    rows = [
        metric(metrics.SWEEP_DECISIONS, ago(hours=each), 5.0, action="hibernated", reason="dormant") for each in (1, 2)
    ]
    assert columns(ask("sweep-decisions", *rows), "action", "reason", "tenants") == [("hibernated", "dormant", 10.0)]


def test_who_came_back_within_the_hour() -> None:
    rows = [
        *(operation("hibernate", ago(hours=10), 60.0, tenant) for tenant in "ab"),
        operation("wake", ago(hours=9, minutes=30), 20.0, "a"),
        operation("wake", ago(hours=8), 20.0, "b"),
        operation("hibernate", ago(hours=2), 60.0, "c", outcome="cancelled"),
        operation("wake", ago(hours=1, minutes=50), 20.0, "c"),
    ]
    assert columns(ask("woken-soon", *rows), "tenant", "minutes_asleep", "wake_seconds") == [("a", 29.0, 20.0)]


@pytest.mark.parametrize(
    ("name", "of", "dimensions", "column"),
    [
        ("cost-by-component", metrics.COST, {"component": "idle"}, "cost"),
        ("run-rate", metrics.RUN_RATE, {}, "run_rate"),
        ("savings", metrics.SAVINGS, {}, "saved"),
    ],
)
def test_the_last_value_of_a_day_counts(name: str, of: Any, dimensions: dict[str, Any], column: str) -> None:
    values = ((ago(hours=20), 2.0), (ago(hours=13), 3.456), (ago(hours=2), 1.0))
    found = ask(name, *(metric(of, at, value, **dimensions) for at, value in values))
    assert [row[column] for row in found] == [3.46, 1.0]


def test_tenants_by_state_and_hour() -> None:
    rows = [
        metric(metrics.TENANTS, ago(minutes=30), value, state=state, plan=plan)
        for state, plan, value in (("active", "trial", 5.0), ("active", "standard", 2.0), ("hibernated", "trial", 40.0))
    ]
    assert columns(ask("tenants-by-state", *rows), "state", "tenants") == [("active", 7.0), ("hibernated", 40.0)]


def test_the_bill_and_the_ledger_as_compared_last() -> None:
    rows = [
        event("bill compared", ago(days=days), day="2026-10-01", billed=billed, ledger="9.5")
        for days, billed in ((3, "4"), (1, "10"))
    ]
    found = ask("bill-and-ledger", *rows)
    assert columns(found, "day", "billed", "ledger", "percent_off") == [
        (datetime(2026, 10, 1, tzinfo=UTC), 10.0, 9.5, -5.0)
    ]


@pytest.mark.parametrize(
    ("name", "of", "column", "value"),
    [
        ("throttling", metrics.THROTTLES, "responses", 3.0),
        ("retries", metrics.RETRIES, "retries", 3.0),
    ],
)
def test_counts_of_an_hour_add_up(name: str, of: Any, column: str, value: float) -> None:
    rows = [metric(of, ago(minutes=10 + each), each, dependency="tables") for each in (1.0, 2.0)]
    assert columns(ask(name, *rows), "dependency", column) == [("tables", value)]


def test_the_calls_of_dependencies() -> None:
    rows = [
        metric(metrics.CALL_DURATION, ago(minutes=5), seconds, number=number, dependency="kubernetes", outcome=outcome)
        for outcome, seconds, number in (("ok", 1.0, 9), ("failed", 4.0, 1))
    ]
    found = ask("dependencies", *rows)
    assert columns(found, "dependency", "calls", "failures", "mean_ms", "longest_ms") == [
        ("kubernetes", 10, 1, 500.0, 4000.0)
    ]


def test_the_causes_of_retries() -> None:
    rows = [event("retry", ago(minutes=each), dependency="tables", cause="reset") for each in (1, 2)]
    rows.append(event("retry: throttled", ago(minutes=3), dependency="kubernetes", cause="429"))
    assert columns(ask("retry-causes", *rows), "dependency", "cause", "retries") == [
        ("tables", "reset", 2),
        ("kubernetes", "429", 1),
    ]


def test_when_a_cluster_was_away() -> None:
    rows = [
        event("breaker opened", ago(hours=2), level=2, cluster="one", cause="no response"),
        event("breaker closed", ago(hours=1), level=2, cluster="one"),
    ]
    assert columns(ask("breakers", *rows), "what", "cause") == [
        ("breaker closed", ""),
        ("breaker opened", "no response"),
    ]


def test_recovery_by_hour() -> None:
    rows = [
        metric(metrics.RECOVERY_RESTARTS, ago(minutes=5), 2.0, kind="wake"),
        metric(metrics.RECOVERY_EXHAUSTED, ago(minutes=5), 1.0, kind="wake"),
    ]
    assert columns(ask("recovery", *rows), "operation_kind", "restarts", "exhausted") == [("wake", 2.0, 1.0)]


def test_the_silence_of_sources_and_the_lag_of_the_ledger() -> None:
    signal = metric(metrics.SIGNAL_AGE, ago(minutes=5), 5400.0, source="gateway")
    assert columns(ask("signals", signal), "source", "minutes_silent") == [("gateway", 90.0)]
    lag = metric(metrics.LEDGER_LAG, ago(minutes=5), 5400.0)
    assert columns(ask("ledger-lag", lag), "hours_behind") == [(1.5,)]


def test_timers_findings_and_skipped_rows() -> None:
    runs = [
        metric(metrics.TIMER_RUNS, ago(minutes=5), value, part="recovery", outcome=outcome)
        for outcome, value in (("done", 59.0), ("held-up", 1.0))
    ]
    assert columns(ask("timers", *runs), "part", "outcome", "runs") == [
        ("recovery", "done", 59.0),
        ("recovery", "held-up", 1.0),
    ]
    finding = metric(metrics.FINDINGS, ago(minutes=5), 3.0, kind="orphan")
    assert columns(ask("findings", finding), "finding", "findings") == [("orphan", 3.0)]
    skipped = event("row skipped", ago(hours=1), level=3, table="tenants", row="tenant:acme", cause="version 9")
    assert columns(ask("rows-skipped", skipped), "row_table", "row", "times") == [("tenants", "tenant:acme", 1)]


def test_errors_are_counted_by_what_they_say() -> None:
    rows = [event("instance lost", ago(hours=each), level=3, tenant="acme", cluster="one") for each in (1, 3)]
    found = ask("errors", *rows, event("reserved", ago(hours=1), tenant="acme"))
    assert columns(found, "what", "times", "since") == [("instance lost", 2, ago(hours=3))]
    assert columns(ask("lost-instances", *rows), "tenant", "cluster") == [("acme", "one")] * 2


def failures(number: float, failure: str = "image", minutes: float = 5) -> Row:
    return metric(metrics.OPERATION_FAILURES, ago(minutes=minutes), number, kind="provision", failure=failure)


@pytest.mark.parametrize(("number", "rows"), [(2.0, 0), (3.0, 1)])
def test_alert_on_failures(number: float, rows: int) -> None:
    found = ask("alert-failures", failures(number), failures(9.0, "cancelled"), failures(9.0, minutes=11))
    assert len(found) == rows
    assert len(ask("alert-failures", failures(number), threshold="0")) == 1


def test_alert_on_failures_names_the_most_frequent_reason() -> None:
    found = ask("alert-failures", failures(1.0, "crash"), failures(3.0, "image"), failures(1.0, "no-room"))
    assert columns(found, "failures", "mostly") == [(5.0, "image")]


@pytest.mark.parametrize(("slow", "signups", "rows"), [(2, 20, 1), (1, 100, 0), (4, 4, 0)])
def test_alert_on_slow_signups(slow: int, signups: int, rows: int) -> None:
    made = [operation("provision", ago(minutes=9), 31.0 if each < slow else 5.0) for each in range(signups)]
    assert len(ask("alert-slow-signups", *made)) == rows


@pytest.mark.parametrize(("state", "rows"), [("done", 0), ("refused", 1), ("stopped", 1)])
def test_alert_on_a_sweep_that_was_refused(state: str, rows: int) -> None:
    assert len(ask("alert-sweep-refused", metric(metrics.SWEEPS, ago(minutes=9), 1.0, state=state))) == rows


def test_alert_on_a_missing_sweep() -> None:
    assert len(ask("alert-sweep-missing")) == 1
    refused = metric(metrics.SWEEPS, ago(hours=23), 1.0, state="refused")
    assert ask("alert-sweep-missing", refused) == []


def test_alert_on_a_silent_source() -> None:
    rows = [
        metric(metrics.SIGNAL_AGE, ago(minutes=minutes), age, source=source)
        for source, minutes, age in (("a", 9, 4000.0), ("a", 4, 10.0), ("b", 9, 3590.0), ("b", 4, 3890.0))
    ]
    assert columns(ask("alert-signal-silent", *rows), "source") == [("b",)]


def test_alert_on_a_queue_that_stays_long() -> None:
    rows = [
        metric(metrics.QUEUE_LENGTH, ago(minutes=minutes), float(length), cluster=cluster, kind="provision")
        for cluster, lengths in (("one", (30, 25)), ("two", (30, 5)))
        for minutes, length in zip((6, 2), lengths, strict=True)
    ]
    assert columns(ask("alert-backlog", *rows), "cluster", "shortest") == [("one", 25.0)]


def test_alert_on_an_open_breaker() -> None:
    rows = [
        metric(metrics.BREAKER_OPEN, ago(minutes=minutes), value, cluster=cluster)
        for cluster, minutes, value in (("one", 3, 1.0), ("one", 1, 0.0), ("two", 3, 0.0), ("two", 1, 1.0))
    ]
    assert columns(ask("alert-breaker-open", *rows), "cluster") == [("two",)]


def test_alert_on_a_passed_budget() -> None:
    assert ask("alert-budget-passed") == []
    passed = metric(metrics.BUDGET_PASSED, ago(minutes=9), 2.0, plan="trial")
    assert columns(ask("alert-budget-passed", passed), "plan", "tenants") == [("trial", 2.0)]


@pytest.mark.parametrize(("seconds", "rows"), [(None, 1), (4000.0, 0), (11000.0, 1)])
def test_alert_on_a_late_ledger(seconds: float | None, rows: int) -> None:
    made = [] if seconds is None else [metric(metrics.LEDGER_LAG, ago(minutes=30), seconds)]
    assert len(ask("alert-ledger-late", *made)) == rows


def test_alert_on_an_operation_that_needs_an_operator() -> None:
    assert ask("alert-recovery-exhausted") == []
    assert (
        len(ask("alert-recovery-exhausted", metric(metrics.RECOVERY_EXHAUSTED, ago(minutes=2), 1.0, kind="wake"))) == 1
    )


def test_alert_on_a_lost_instance() -> None:
    lost = event("instance lost", ago(minutes=2), level=3, tenant="acme", cluster="one")
    assert columns(ask("alert-instance-lost", lost), "tenant") == [("acme",)]


def test_alert_when_no_timer_runs() -> None:
    assert len(ask("alert-timers-silent")) == 1
    assert (
        ask("alert-timers-silent", metric(metrics.TIMER_RUNS, ago(minutes=14), 1.0, part="recovery", outcome="done"))
        == []
    )
