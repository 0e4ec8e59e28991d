"""What a running stack has sent is what the queries ask for: they run on the recording of a demo."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from cli.monitoring.queries import read_queries
from shared.telemetry.metrics import SWEEPS
from tests.support.kusto.emitted import COUNTS, METRICS, OTHER_SPANS, SPANS, fields_of_event
from tests.support.kusto.engine import Workspace
from tests.support.kusto.envelopes import Row, recorded_envelopes, to_rows

QUERIES = read_queries()
ROWS = to_rows(recorded_envelopes())
END = max(datetime.fromisoformat(row["TimeGenerated"]) for rows in ROWS.values() for row in rows)
NOW = END + timedelta(minutes=1)
BY_LIBRARIES = {"logger_name", "on_span", "code.file.path", "code.function.name", "code.line.number"}
OPERATIONS = [each["Properties"] for each in ROWS["AppDependencies"] if each["Name"] == "operation"]
WOKEN = next(each for each in OPERATIONS if each["kind"] == "wake")


@pytest.fixture(scope="module")
def workspace() -> Workspace:
    return Workspace(ROWS)


def ask(workspace: Workspace, name: str, values: Mapping[str, str] | None = None, now: datetime = NOW) -> list[Row]:
    return workspace.run(QUERIES[name].filled({"period": "60d", **(values or {})}), now=now)


def test_all_that_is_recorded_is_known() -> None:
    for row in ROWS["AppMetrics"]:
        if row["Name"].startswith("berth."):
            assert row["Properties"].keys() == METRICS[row["Name"]], row
    for row in ROWS["AppTraces"]:
        unknown = row["Properties"].keys() - fields_of_event(row["Message"]) - COUNTS - BY_LIBRARIES
        assert not unknown, (row["Message"], unknown)
    for row in ROWS["AppDependencies"]:
        if row["AppRoleName"] != "functions-host":
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


def test_the_sweep_of_the_demo(workspace: Workspace) -> None:
    done = [each for each in ask(workspace, "sweeps") if each["what"] == "sweep done"]
    assert [(each["hibernated"], each["reason"]) for each in done] == [(2, "")]
    (counted,) = (each["TimeGenerated"] for each in ROWS["AppMetrics"] if each["Name"] == SWEEPS.name)
    ended = datetime.fromisoformat(counted)
    for hours, rows in ((25, 0), (27, 1)):
        at = ended + timedelta(hours=hours)
        assert len(ask(workspace, "alert-sweep-missing", {"period": "26h"}, at)) == rows
    assert ask(workspace, "alert-sweep-refused") == []
