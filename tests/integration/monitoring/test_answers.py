"""What queries answer, on rows that a test makes up."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cli.monitoring.alerts import NO_NEXT, read_rules
from cli.monitoring.queries import read_queries
from shared.telemetry import metrics
from tests.support.kusto.engine import Workspace
from tests.support.kusto.envelopes import Row
from tests.support.kusto.rows import event, metric, request, span, workspace_of

QUERIES, RULES = read_queries(), read_rules()
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


def test_the_slowest_sweep_with_its_own_slowest_step() -> None:
    rows = [
        *(
            span("step", ago(hours=9), seconds, kind="sweep", step=step, sweep=sweep)
            for sweep, step, seconds in (("one", "decide", 50.0), ("one", "act", 10.0), ("two", "act", 30.0))
        ),
        *(
            span("operation", ago(hours=9), seconds, kind="sweep", outcome="succeeded", sweep=sweep)
            for sweep, seconds in (("one", 60.0), ("two", 40.0))
        ),
    ]
    found = ask("slowest-operations", *rows, operation_kind='"sweep"')
    assert columns(found, "operation", "seconds", "slowest_step") == [("one", 60.0, "decide"), ("two", 40.0, "act")]


HOUR = 3600.0


def of_days(kind: str, tenant: str = "acme", outcome: str = "succeeded") -> Row:
    """Return the span of an operation that took 60 hours and ended 6 minutes ago: it seems to have begun later."""
    began = ago(hours=47, minutes=6)
    return operation(kind, began, 47 * HOUR, tenant, total_seconds=60 * HOUR, outcome=outcome)


def test_a_long_deletion_that_failed_now_is_found() -> None:
    late = operation("delete", ago(hours=25), 24.9 * HOUR, "a", outcome="failed")
    longer = of_days("delete", "b", "failed")
    before = operation("delete", ago(hours=50), 25.9 * HOUR, "c", outcome="failed")
    found = ask("failed-operations", late, longer, before)
    assert columns(found, "tenant", "ended", "seconds") == [
        ("a", ago(minutes=6), 24.9 * HOUR),
        ("b", ago(minutes=6), 60 * HOUR),
    ]


@pytest.mark.parametrize(
    ("name", "values", "columns_of_it"),
    [
        ("slowest-operations", {"operation_kind": '"delete"'}, {"seconds": 60 * HOUR, "ended": ago(minutes=6)}),
        ("durations-by-day", {}, {"p50": 60 * HOUR, "day": datetime(2026, 10, 31, tzinfo=UTC)}),
        ("tenant-story", {}, {"details": "216000.0 s, failure ", "at": ago(minutes=6)}),
    ],
)
def test_what_took_days_is_of_the_day_of_its_end(
    name: str, values: dict[str, str], columns_of_it: dict[str, Any]
) -> None:
    [found] = ask(name, of_days("delete"), operation("delete", ago(days=40), HOUR), **values)
    assert {each: found[each] for each in columns_of_it} == columns_of_it


def test_a_wake_that_took_days() -> None:
    rows = [operation("hibernate", ago(hours=60, minutes=40), 60.0), of_days("wake")]
    assert columns(ask("wakes", *rows), "ended", "seconds") == [(ago(minutes=6), 60 * HOUR)]
    assert columns(ask("woken-soon", *rows), "minutes_asleep", "wake_seconds") == [(33.0, 60 * HOUR)]


def test_a_step_is_of_the_day_of_its_end() -> None:
    step = span("step", ago(hours=20), 15 * HOUR, kind="provision", step="place")
    assert columns(ask("steps-by-day", step), "day", "p95") == [(datetime(2026, 10, 31, tzinfo=UTC), 15 * HOUR)]


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
        # Of the traces of b and d nothing was kept.
        event("state changed", ago(minutes=55), tenant="b", operation="b.1", kind="wake", operation_state="succeeded"),
        event(lost, ago(hours=23), tenant="d", operation="d.1", kind="delete"),
        event("state changed", ago(hours=22), tenant="d", operation="d.1", kind="delete", operation_state="failed"),
        event("state changed", ago(hours=3), tenant="a", operation="a.1", kind="provision", operation_state="running"),
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
        for outcome, seconds, number in (("ok", 1.0, 8), ("failed", 4.0, 1), ("cancelled", 0.0, 1))
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


def test_rows_that_cannot_be_read() -> None:
    skipped = event("row skipped", ago(hours=1), level=3, table="tenants", row="tenant:acme", cause="version 9")
    assert columns(ask("rows-skipped", skipped), "row_table", "row", "times") == [("tenants", "tenant:acme", 1)]


def test_an_instance_of_the_app_has_started_once() -> None:
    rows = [
        request(ago(hours=hours), milliseconds, app_instance)
        for app_instance, hours, milliseconds in (
            ("old", 40, 900.0),
            ("old", 2, 20.0),
            ("new", 3, 800.0),
            ("new", 1, 30.0),
        )
    ]
    found = ask("cold-starts", *rows)
    assert columns(found, "app_instance", "started", "first_ms", "requests") == [("new", ago(hours=3), 800.0, 2)]


def test_a_passed_budget_is_listed_once_a_month() -> None:
    # October's last day is final in November.
    at = [
        datetime(2026, 10, 3, 1, 5, tzinfo=UTC),
        datetime(2026, 10, 9, tzinfo=UTC),
        datetime(2026, 11, 1, 1, 5, tzinfo=UTC),
    ]
    rows = [event("budget passed", each, level=2, tenant="a", plan="trial", budget="10", month="11") for each in at]
    other = event("budget passed", at[1], level=2, tenant="b", plan="trial", budget="10", month="12.5")
    november = event(
        "budget passed", at[2] + timedelta(days=9), level=2, tenant="a", plan="trial", budget="10", month="13"
    )
    text, now = QUERIES["over-budget"].filled({}), at[2] + timedelta(days=10)
    found = Workspace(workspace_of(*rows, other)).run(text, now=at[2] + timedelta(hours=1))
    assert columns(found, "tenant", "at", "cost_of_month") == [("b", at[1], 12.5), ("a", at[0], 11.0)]
    found = Workspace(workspace_of(rows[-1], november)).run(text, now=now)
    assert columns(found, "at", "cost_of_month") == [(at[2] + timedelta(days=9), 13.0), (at[2], 11.0)]
    # A day of October that is computed late is told of in November, and hides nothing of November.
    late = event(
        "budget passed", at[2] + timedelta(days=5), level=2, tenant="a", plan="trial", month="12", day="2026-10-31"
    )
    found = Workspace(workspace_of(late, november)).run(text, now=now)
    assert columns(found, "at", "cost_of_month") == [
        (at[2] + timedelta(days=9), 13.0),
        (at[2] + timedelta(days=5), 12.0),
    ]


def test_errors_are_counted_by_what_they_say() -> None:
    rows = [event("instance lost", ago(hours=each), level=3, tenant="acme", cluster="one") for each in (1, 3)]
    found = ask("errors", *rows, event("reserved", ago(hours=1), tenant="acme"))
    assert columns(found, "what", "times", "since") == [("instance lost", 2, ago(hours=3))]
    assert columns(ask("lost-instances", *rows), "tenant", "cluster") == [("acme", "one")] * 2


def failures(number: float, failure: str = "image", minutes: float = 5) -> Row:
    return metric(metrics.OPERATION_FAILURES, ago(minutes=minutes), number, kind="provision", failure=failure)


def told(*rows: Row, now: datetime = NOW) -> list[str]:
    """Return the rules about failures that tell of these."""
    thresholds = {each.name: str(each.threshold) for each in RULES}
    return [
        each.name
        for each in RULES
        if each.query == "alert-failures"
        and Workspace(workspace_of(*rows)).run(
            QUERIES[each.query].filled(
                {
                    "period": each.period,
                    "threshold": thresholds[each.name],
                    "next_threshold": thresholds[each.below] if each.below else str(NO_NEXT),
                }
            ),
            now=now,
        )
    ]


@pytest.mark.parametrize(
    ("number", "rules"),
    [
        (2.0, []),
        (3.0, ["failures"]),
        (5.0, ["failures"]),
        (6.0, ["many-failures"]),
        (10.0, ["many-failures"]),
        (11.0, ["mass-failures"]),
    ],
)
def test_one_rule_tells_of_failures(number: float, rules: list[str]) -> None:
    assert told(failures(number), failures(9.0, "cancelled"), failures(9.0, minutes=100)) == rules


def test_failures_of_all_reasons_add_up() -> None:
    found = ask("alert-failures", failures(1.0, "crash"), failures(1.0, "image"), failures(1.0, minutes=14))
    assert columns(found, "operations") == [(3.0,)]


@pytest.mark.parametrize(("apart", "rules"), [(9, ["failures"]), (10, [])])
def test_failures_within_ten_minutes_count(apart: int, rules: list[str]) -> None:
    assert told(failures(2.0, minutes=apart + 5), failures(1.0)) == rules


def test_failures_that_arrive_late_are_told_of() -> None:
    assert told(failures(2.0, minutes=18), failures(1.0, minutes=12)) == ["failures"]


def test_an_incident_is_told_of_once_while_it_fades() -> None:
    rows = [failures(3.0, minutes=minutes) for minutes in (19, 17, 15, 13)]
    over_time = [told(*rows, now=NOW + timedelta(minutes=minutes)) for minutes in (0, 2, 4, 6, 10, 70)]
    assert over_time == [["mass-failures"], [], [], [], [], []]


@pytest.mark.parametrize(
    ("minutes", "after", "rules"),
    [
        (70, 4.0, ["failures"]),
        (25, 4.0, ["failures"]),
        (25, 6.0, ["many-failures"]),
        (25, 11.0, ["mass-failures"]),
        (16, 1.0, ["mass-failures"]),
    ],
)
def test_a_second_incident_is_told_of_at_once(minutes: float, after: float, rules: list[str]) -> None:
    assert told(failures(12.0, minutes=minutes), failures(after)) == rules


@pytest.mark.parametrize(("slow", "signups", "rows"), [(2, 20, 1), (1, 100, 0), (4, 4, 0)])
def test_alert_on_slow_signups(slow: int, signups: int, rows: int) -> None:
    made = [operation("provision", ago(minutes=9), 31.0 if each < slow else 5.0) for each in range(signups)]
    assert len(ask("alert-slow-signups", *made)) == rows


@pytest.mark.parametrize(("ended", "rows"), [(5, 1), (61, 0)])
def test_alert_on_signups_that_began_before_the_period(ended: int, rows: int) -> None:
    made = [operation("provision", ago(minutes=ended + 65), 65 * 60.0) for _ in range(20)]
    assert len(ask("alert-slow-signups", *made)) == rows


@pytest.mark.parametrize("state", ["refused", "stopped"])
def test_alert_on_a_sweep_that_was_refused(state: str) -> None:
    found = ask("alert-sweep-refused", metric(metrics.SWEEPS, ago(minutes=9), 1.0, state=state))
    assert columns(found, "state") == [(state,)]


def ran_since(**duration: float) -> Row:
    return metric(metrics.TIMER_RUNS, ago(**duration), 1.0, part="recovery", outcome="done")


def test_a_sweep_that_was_refused_is_not_missing() -> None:
    refused = metric(metrics.SWEEPS, ago(hours=23), 1.0, state="refused")
    assert ask("alert-sweep-missing", refused, ran_since(hours=40)) == []


@pytest.mark.parametrize(("name", "hours"), [("alert-sweep-missing", 26), ("alert-ledger-late", 3)])
def test_no_alert_before_berth_has_run_for_the_period(name: str, hours: int) -> None:
    assert ask(name) == []
    for since, rows in ((hours - 1, 0), (hours + 1, 1)):
        assert len(ask(name, ran_since(hours=since), ran_since(minutes=1))) == rows


def test_alert_on_a_silent_source() -> None:
    ages = {"heard": (4000, 4300, 4600, 10), "short": (3590, 3890, 4190, 4490), "new": (9000, 9300, 9600)}
    rows = [
        metric(metrics.SIGNAL_AGE, ago(minutes=19 - 5 * number), float(age), source=source)
        for source, found in (ages | {"silent": (3610, 3910, 4210, 4510)}).items()
        for number, age in enumerate(found)
    ]
    assert columns(ask("alert-signal-silent", *rows), "source", "minutes_silent") == [("silent", 75.0)]


@pytest.mark.parametrize(
    ("lengths", "shortest"),
    [
        ([30, 25, 26], 25.0),
        ([30, 25], None),  # too few to say so
        ([30, 5, 26], None),
    ],
)
def test_alert_on_a_queue_that_stays_long(lengths: list[float], shortest: float | None) -> None:
    rows = [
        metric(metrics.QUEUE_LENGTH, ago(minutes=minutes), length, cluster=cluster, kind="provision")
        for cluster, of_cluster in (("one", lengths), ("two", [1.0, 1.0, 1.0]))
        for minutes, length in enumerate(of_cluster, 2)
    ]
    wanted = [] if shortest is None else [("one", shortest)]
    assert columns(ask("alert-backlog", *rows), "cluster", "shortest") == wanted


def test_the_two_queues_of_a_cluster_add_up_and_workers_do_not() -> None:
    rows = [
        metric(metrics.QUEUE_LENGTH, ago(minutes=minutes, seconds=seconds), length, cluster="one", kind=kind)
        for minutes in (2, 3, 4)
        for kind, seconds, length in (("provision", 0, 12.0), ("provision", -20, 12.0), ("wake", 0, 9.0))
    ]
    assert columns(ask("alert-backlog", *rows), "shortest") == [(21.0,)]


def test_alert_on_an_open_breaker() -> None:
    rows = [
        metric(metrics.BREAKER_OPEN, ago(minutes=minutes), value, cluster=cluster)
        for cluster, minutes, value in (("one", 3, 1.0), ("one", 1, 0.0), ("two", 3, 0.0), ("two", 1, 1.0))
    ]
    assert columns(ask("alert-breaker-open", *rows), "cluster") == [("two",)]


@pytest.mark.parametrize(("seconds", "rows"), [(4000.0, 0), (11000.0, 1)])
@pytest.mark.parametrize("ran_for", [1, 4])
def test_alert_on_a_late_ledger(seconds: float, rows: int, ran_for: int) -> None:
    lag = metric(metrics.LEDGER_LAG, ago(minutes=30), seconds)
    assert len(ask("alert-ledger-late", lag, ran_since(hours=ran_for))) == rows


EVERY_MINUTE = (
    *("checking the clusters", "reading the open operations", "slot repair", "recovery"),
    "looking for lost instances",
)


def runs(*parts: str, minutes: Iterable[float] = range(1, 15), outcome: str = "done") -> list[Row]:
    return [
        metric(metrics.TIMER_RUNS, ago(minutes=each), 1.0, part=part, outcome=outcome)
        for part in parts
        for each in minutes
    ]


def silent(*rows: Row) -> set[str]:
    return {each["part"] for each in ask("alert-timers-silent", *rows)}


def test_no_alert_while_all_timers_run() -> None:
    assert silent(*runs(*EVERY_MINUTE)) == set()


@pytest.mark.parametrize("part", EVERY_MINUTE)
def test_alert_on_one_timer_that_does_not_run(part: str) -> None:
    others = runs(*(each for each in EVERY_MINUTE if each != part), "reconciliation")
    assert silent(*others) == {part}


@pytest.mark.parametrize("outcome", ["broke-off", "held-up"])
def test_alert_on_a_timer_that_never_ends_well(outcome: str) -> None:
    part, *others = EVERY_MINUTE
    assert silent(*runs(*others), *runs(part, outcome=outcome)) == {part}
    assert silent(*runs(*others), *runs(part, outcome=outcome), *runs(part, minutes=[9])) == set()


def test_one_alert_if_nothing_runs() -> None:
    assert silent() == {"all"}


def test_a_timer_that_berth_has_not_reached_is_not_silent() -> None:
    assert silent(*runs(EVERY_MINUTE[0], minutes=[1, 2])) == set()


HOURLY = ("measuring the age of signals", "resuming a sweep", "reconciliation", "rolling up latency")


def late(*rows: Row, runs_now: bool = True) -> set[str]:
    now = runs("recovery", minutes=[1]) if runs_now else []
    return {each["part"] for each in ask("alert-timer-late", *rows, *now)}


@pytest.mark.parametrize(("hours", "parts"), [(2, ()), (4, HOURLY), (27, (*HOURLY, "purging"))])
def test_a_timer_is_late_that_was_never_done(hours: int, parts: tuple[str, ...]) -> None:
    rows = runs("recovery", minutes=[60 * hours])
    assert late(*rows) == set(parts)
    assert late(*rows, runs_now=False) == set()  # of that, another rule tells


def test_a_timer_is_late_that_always_breaks_off() -> None:
    done = runs(*HOURLY, "purging", minutes=[200])
    assert late(*done, *runs(*HOURLY, minutes=[20]), *runs("purging", minutes=[20], outcome="broke-off")) == set()
    assert late(*done, *runs(*HOURLY, minutes=[20], outcome="broke-off")) == set(HOURLY)


def test_no_alert_on_timers_that_berth_has_not_sent() -> None:
    assert late() == late(runs_now=False) == set()


def test_alert_on_each_operation_that_needs_an_operator() -> None:
    assert ask("alert-recovery-exhausted") == []
    needs = "orchestration not restarted: it needs an operator"
    rows = [
        event(needs, ago(minutes=minutes), level=3, tenant=tenant, operation=f"{tenant}.1", kind="wake")
        for tenant, minutes in (("a", 3), ("a", 2), ("b", 2))
    ]
    found = sorted(columns(ask("alert-recovery-exhausted", *rows), "tenant", "operation", "looked_at"))
    assert found == [("a", "a.1", ago(minutes=2)), ("b", "b.1", ago(minutes=2))]


def test_alert_on_each_lost_instance() -> None:
    rows = [event("instance lost", ago(minutes=2), level=3, tenant=tenant, cluster="one") for tenant in "ab"]
    rows.append(event("too many instances lost", ago(minutes=2), level=3, cluster="two", count="21"))
    found = sorted(columns(ask("alert-instance-lost", *rows), "tenant", "cluster"))
    assert found == [("a", "one"), ("b", "one"), ("many", "two")]
