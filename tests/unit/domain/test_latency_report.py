"""Reports of latency from daily roll-ups."""

from datetime import date, timedelta
from typing import Any

import pytest

from shared.domain.failures import FailureClass
from shared.domain.latency import LatencyKind, Sample
from shared.domain.latency_report import Grouping, LatencyReport, Line
from shared.domain.latency_rollup import roll_up
from shared.domain.operations import OperationState
from tests.support.builders import new_sample

SUNDAY = date(2026, 3, 1)
DAY = timedelta(days=1)
FAILED: dict[str, Any] = {"outcome": OperationState.FAILED, "failure": FailureClass.IMAGE}


def lines(by: Grouping, *samples: Sample) -> dict[tuple[str, str], Line]:
    report = LatencyReport(by)
    for kind, day in {(each.kind, each.day) for each in samples}:
        for rollup in roll_up(kind, day, [each for each in samples if (each.kind, each.day) == (kind, day)]):
            report.add(rollup)
    found = report.lines()
    assert [list(LatencyKind).index(each.kind) for each in found] == sorted(
        list(LatencyKind).index(each.kind) for each in found
    )
    return {(each.kind.value, each.group): each for each in found}


def sample(day: date, seconds: float = 9.0, **fields: Any) -> Sample:
    return new_sample(day, seconds=seconds, **fields)


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        (Grouping.NONE, {"": 4}),
        (Grouping.DAY, {"2026-03-01": 3, "2026-03-02": 1}),
        (Grouping.WEEK, {"2026-W09": 3, "2026-W10": 1}),
        (Grouping.OUTCOME, {"failed": 1, "succeeded": 3}),
        (Grouping.CLUSTER, {"one": 3, "two": 1}),
        (Grouping.PLAN, {"business": 1, "trial": 3}),
        (Grouping.STEP, {"place": 4, "apply": 4, "start": 4}),
    ],
)
def test_each_group_has_a_line(by: Grouping, groups: dict[str, int]) -> None:
    found = lines(
        by,
        sample(SUNDAY),
        sample(SUNDAY, **FAILED),
        sample(SUNDAY, cluster="two"),
        sample(SUNDAY + DAY, plan="business"),
    )
    assert {group: line.outcomes.total() for (_, group), line in found.items()} == groups
    assert list(found) == [("provision", group) for group in groups]


def test_the_year_of_a_week_is_that_of_iso() -> None:
    found = lines(Grouping.WEEK, sample(date(2025, 12, 29)), sample(date(2027, 1, 3)))
    assert list(found) == [("provision", "2026-W01"), ("provision", "2026-W53")]


def test_each_kind_has_lines_of_its_own() -> None:
    found = lines(Grouping.NONE, sample(SUNDAY), sample(SUNDAY, kind=LatencyKind.SWEEP, steps={"decide": 1.0}))
    assert list(found) == [("provision", ""), ("sweep", "")]


def test_seconds_are_of_what_succeeded() -> None:
    many = [sample(SUNDAY + number % 9 * DAY, float(number)) for number in range(1, 101)]
    found = lines(Grouping.NONE, *many, sample(SUNDAY, 600.0, **FAILED))["provision", ""]
    assert found.outcomes == {OperationState.SUCCEEDED: 100, OperationState.FAILED: 1}
    assert found.failures == {FailureClass.IMAGE: 1}
    assert found.seconds.mean == 50.5
    assert (found.seconds.p50, found.seconds.p95, found.seconds.p99) == (
        pytest.approx(50, rel=0.01),
        pytest.approx(95, rel=0.01),
        pytest.approx(99, rel=0.01),
    )
    assert found.waiting.mean == pytest.approx(50.5 * 2 / 3)
    assert found.waiting.p99 == pytest.approx(66, rel=0.01)


def test_of_outcomes_each_has_its_own_seconds() -> None:
    found = lines(Grouping.OUTCOME, sample(SUNDAY), sample(SUNDAY, 600.0, **FAILED))
    assert found["provision", "failed"].seconds.p50 == pytest.approx(600, rel=0.01)
    assert found["provision", "succeeded"].seconds.p50 == pytest.approx(9, rel=0.01)


def test_where_nothing_succeeded_there_are_no_seconds() -> None:
    found = lines(Grouping.NONE, sample(SUNDAY, **FAILED))["provision", ""]
    assert (found.seconds.mean, found.seconds.p50, found.waiting.p99) == (None, None, None)


def test_a_step_is_waiting_or_work() -> None:
    found = lines(Grouping.STEP, sample(SUNDAY, 30.0), sample(SUNDAY, 30.0))
    for step in ("place", "start"):
        assert found["provision", step].waiting == found["provision", step].seconds
    assert found["provision", "apply"].seconds.p95 == pytest.approx(10, rel=0.01)
    assert (found["provision", "apply"].waiting.mean, found["provision", "apply"].waiting.p95) == (0, 0)
