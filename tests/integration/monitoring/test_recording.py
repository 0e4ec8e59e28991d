"""What a running stack has sent is what the queries ask for: they run on the recording of a demo."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from cli.monitoring.alerts import Rule, read_rules
from cli.monitoring.queries import read_queries
from shared.telemetry import metrics
from shared.telemetry.recorder import Metric
from shared.telemetry.spans import CONTEXT
from tests.support.bicep import INFRA, BicepFile, text
from tests.support.kusto.emitted import COUNTS, METRICS, OTHER_SPANS, SPANS, fields_of_event
from tests.support.kusto.engine import Workspace
from tests.support.kusto.envelopes import Row, recorded_envelopes, to_rows

QUERIES, RULES = read_queries(), read_rules()
ROWS = to_rows(recorded_envelopes())
END = max(datetime.fromisoformat(row["TimeGenerated"]) for rows in ROWS.values() for row in rows)
NOW = END + timedelta(minutes=1)
BY_LIBRARIES = {"logger_name", "on_span", "code.file.path", "code.function.name", "code.line.number"}
OPERATIONS = [each["Properties"] for each in ROWS["AppDependencies"] if each["Name"] == "operation"]
# After a week in which nothing has run, nothing has watched for activity; months cost too much.
WRONG = {"alert-signal-silent", "alert-budget-passed"}
WOKEN = next(each for each in OPERATIONS if each["kind"] == "wake")


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return Workspace(ROWS)


def ask(workspace: Workspace, name: str, values: Mapping[str, str] | None = None, now: datetime = NOW) -> list[Row]:
    return workspace.run(QUERIES[name].filled({"period": "60d", **(values or {})}), now=now)


def is_of_host(row: Row) -> bool:
    return row["AppRoleName"] == "functions-host"


def alert(workspace: Workspace, name: str, now: datetime) -> list[Row]:
    return workspace.run(QUERIES[name].text, now=now)


def last(metric: Metric) -> datetime:
    """Return when a metric was measured last."""
    return max(
        datetime.fromisoformat(each["TimeGenerated"]) for each in ROWS["AppMetrics"] if each["Name"] == metric.name
    )


def test_all_that_is_recorded_is_known() -> None:
    for row in ROWS["AppMetrics"]:
        if row["Name"].startswith("berth."):
            assert row["Properties"].keys() == METRICS[row["Name"]], row
    for row in ROWS["AppTraces"]:
        unknown = row["Properties"].keys() - fields_of_event(row["Message"]) - COUNTS - BY_LIBRARIES
        assert not unknown, (row["Message"], unknown)
    for row in ROWS["AppDependencies"]:
        if not is_of_host(row):
            unknown = row["Properties"].keys() - SPANS.get(row["Name"], OTHER_SPANS)
            assert not unknown, (row["Name"], unknown)


@pytest.mark.parametrize(
    ("name", "values", "may_be_empty"),
    [
        ("slowest-operations", {}, set[str]()),
        ("durations-by-day", {}, set[str]()),
        ("steps-by-day", {}, set[str]()),
        ("failures-by-reason", {}, set[str]()),
        ("failed-operations", {}, set[str]()),
        ("queue-waits", {}, set[str]()),
        ("wakes", {}, set[str]()),
        ("over-budget", {}, set[str]()),
        ("dependencies", {}, set[str]()),
        ("slow-calls", {}, set[str]()),
        ("requests", {}, set[str]()),
        ("cold-starts", {}, set[str]()),
        ("woken-soon", {}, set[str]()),
        ("cost-by-component", {}, set[str]()),
        ("run-rate", {}, set[str]()),
        ("savings", {}, set[str]()),
        ("findings", {}, set[str]()),
        ("slowest-operations", {"operation_kind": '"sweep"'}, {"tenant", "cluster", "plan"}),
        ("sweeps", {}, {"reason", "hibernated", "failed", "saves_a_month"}),
        ("tenant-story", {"slug": f'"{WOKEN["tenant"]}"'}, {"operation"}),
        ("operation-trace", {"operation_id": f'"{WOKEN["operation"]}"'}, {"ms", "error", "details", "Id", "ParentId"}),
    ],
)
def test_a_query_answers_from_the_recording(
    name: str, values: Mapping[str, str], may_be_empty: set[str], workspace: Workspace
) -> None:
    rows = ask(workspace, name, values)
    assert rows
    for row in rows:
        empty = {column for column, value in row.items() if value is None or value == ""}
        assert empty <= may_be_empty, row


def test_what_the_host_sends_is_found_by_the_trace_alone(workspace: Workspace) -> None:
    of_host = [row for table in ("AppRequests", "AppDependencies") for row in ROWS[table] if is_of_host(row)]
    assert of_host
    assert not any(row["Properties"].keys() & set(CONTEXT) for row in of_host)
    signup = next(each["operation"] for each in OPERATIONS if each["kind"] == "provision")
    found = {each["what"].strip() for each in ask(workspace, "operation-trace", {"operation_id": f'"{signup}"'})}
    assert {"POST api/tenants", "orchestration:provision_tenant", "activity:apply_tenant"} <= found


def test_the_workspace_keeps_the_metrics_of_berth_alone(workspace: Workspace) -> None:
    rule = BicepFile(INFRA / "monitoring.bicep").one("resource", "transformation")
    [transformation] = re.findall(r"transformKql: '(.+)'", text(rule.node))
    names = {row["Name"] for row in ROWS["AppMetrics"]}
    kept = {row["Name"] for row in workspace.run(re.sub("^source", "AppMetrics", transformation), now=NOW)}
    assert names - kept == {"_OTELRESOURCE_"}
    assert kept == {name for name in names if name in METRICS}


def test_the_story_of_a_tenant_that_was_woken(workspace: Workspace) -> None:
    story = [each["what"] for each in ask(workspace, "tenant-story", {"slug": f'"{WOKEN["tenant"]}"'})]
    wanted = ["reserved", "provision succeeded", "hibernate succeeded", "wake succeeded"]
    assert [each for each in story if each in wanted and each != "reserved"] == wanted[1:]
    assert "state changed" in story


def test_the_trace_of_an_operation(workspace: Workspace) -> None:
    trace = ask(workspace, "operation-trace", {"operation_id": f'"{WOKEN["operation"]}"'})
    names = [each["what"].strip() for each in trace]
    assert {"operation", "step apply", "step start", "apply_tenant", "await_tenant"} <= set(names)
    assert any(each.startswith("apply statefulsets") for each in names)
    times: list[Any] = [each["at"] for each in trace]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("open-now", [{"operation_kind": "wake", "open": 0.0, "stuck": 0.0}]),
        ("queues-now", [{"cluster": "local", "slots": 64.0, "signups_waiting": 0.0, "wakes_waiting": 0.0}]),
        ("tenants-by-state", [{"state": "active", "tenants": 5.0}, {"state": "failed", "tenants": 1.0}]),
        ("signals", [{"source": "gateway", "minutes_silent": 5.0}]),
        ("ledger-lag", [{"hours_behind": 0.03}]),
        ("sweep-decisions", [{"outcome": "hibernate", "reason": "idle", "tenants": 2.0}]),
        ("timers", [{"part": "recovery", "outcome": "done"}, {"part": "metering", "outcome": "done"}]),
    ],
)
def test_what_the_demo_has_measured(name: str, wanted: list[Row], workspace: Workspace) -> None:
    rows = ask(workspace, name)
    for each in wanted:
        assert any(each.items() <= row.items() for row in rows), rows


def test_the_sweep_of_the_demo(workspace: Workspace) -> None:
    done = [each for each in ask(workspace, "sweeps") if each["what"] == "sweep done"]
    assert [(each["hibernated"], each["reason"]) for each in done] == [(2, "")]
    ended = last(metrics.SWEEPS)
    for hours, rows in ((25, 0), (27, 1)):
        assert len(alert(workspace, "alert-sweep-missing", ended + timedelta(hours=hours))) == rows
    assert alert(workspace, "alert-sweep-refused", ended + timedelta(minutes=10)) == []


@pytest.mark.parametrize("rule", [each for each in RULES if each.query not in WRONG], ids=lambda rule: rule.name)
def test_a_rule_is_silent_about_the_demo(rule: Rule, workspace: Workspace) -> None:
    assert alert(workspace, rule.query, NOW) == []


@pytest.mark.parametrize(
    ("name", "metric", "minutes"),
    [("alert-timers-silent", metrics.TIMER_RUNS, 15), ("alert-ledger-late", metrics.LEDGER_LAG, 180)],
)
def test_a_rule_about_silence(name: str, metric: Metric, minutes: int, workspace: Workspace) -> None:
    for late, rows in ((-5, 0), (1, 1)):  # each part has its own last time
        assert len(alert(workspace, name, last(metric) + timedelta(minutes=minutes + late))) == rows


def test_the_budgets_that_the_demo_has_passed(workspace: Workspace) -> None:
    passed = last(metrics.BUDGET_PASSED)
    assert alert(workspace, "alert-budget-passed", passed + timedelta(minutes=9)) == [{"plan": "trial", "tenants": 4.0}]
    assert alert(workspace, "alert-budget-passed", passed + timedelta(minutes=71)) == []
