"""Every query fits the workspace's tables, and names only what berth emits."""

import re
from collections.abc import Mapping

import pytest

from cli.monitoring.alerts import Rule, read_rules
from cli.monitoring.queries import read_queries
from shared.telemetry.metrics import all_metrics
from shared.telemetry.recorder import Instrument
from tests.support.kusto.emitted import COUNTS, METRICS, OTHER_SPANS, SPANS, fields_of_event, recorded_metrics
from tests.support.kusto.envelopes import recorded_envelopes, to_rows
from tests.support.kusto.library import Answer, Read, check
from tests.support.kusto.tables import TABLES

QUERIES = read_queries()
SOURCE = re.compile(rf"(?:^|= )(?:union withsource.*|{'|'.join(TABLES)})$")
RECORDED: dict[str, set[str]] = {}
"""The fields of each event that the recording has: berth's code may give an event any field of the context."""
for row in to_rows(recorded_envelopes())["AppTraces"]:
    RECORDED.setdefault(row["Message"], set()).update(row["Properties"])
EXTREMES = {"Min", "Max"}  # the exporter sends them of histograms only
HISTOGRAMS = {each.name for each in all_metrics() if each.instrument is Instrument.HISTOGRAM}
BY_HOST = {"cold-starts", "requests"}  # read what the Functions host sends: no names and keys of berth


@pytest.fixture(scope="module")
def answers() -> Mapping[str, Answer]:
    return check({name: each.text for name, each in QUERIES.items()})


def test_all_metrics_are_recorded_with_their_dimensions() -> None:
    assert set(recorded_metrics()) == {(each, frozenset(each.dimensions)) for each in all_metrics()}


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ("state changed", "operation_state"),
        ("orchestration stuck", "heartbeat_age"),  # by who calls the function that logs
        ("retry: throttled", "pause"),  # one of two
        ("sweep refused", "reason"),  # the beginning of an f-string
        ("metering held up", "cause"),  # the end of one
        ("request broke off", "route"),  # an error that nobody expected
    ],
)
def test_an_event_has_the_fields_that_its_call_gives(event: str, field: str) -> None:
    assert field in fields_of_event(event)


@pytest.mark.parametrize("text", ["tenants", "forget", "cordoned", "sweeps refused", "cooking held up"])
def test_a_text_that_nobody_logs_is_no_event(text: str) -> None:
    assert not fields_of_event(text)


def test_an_event_does_not_have_the_fields_of_another() -> None:
    assert "cause" not in fields_of_event("breaker closed")


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_fits_the_tables(name: str, answers: Mapping[str, Answer]) -> None:
    assert answers[name].problems == []
    assert any(each.tables for each in answers[name].reads)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_looks_back_as_far_as_its_period(name: str, answers: Mapping[str, Answer]) -> None:
    query = QUERIES[name]
    assert query.parameters[0].name == "period"
    lines = query.text.splitlines()
    sources = [number for number, line in enumerate(lines) if SOURCE.search(line)]
    assert sources
    for number in sources:
        looks_back = r" *\| where TimeGenerated > ago\((period( \+ (10m|[12]d))?|2d)\)"
        assert re.match(looks_back, lines[number + 1]), lines[number]


@pytest.mark.parametrize("name", QUERIES)
def test_a_span_is_looked_for_by_its_end(name: str) -> None:
    """A span has the time of its begin, and an operation may take two days."""
    lines = [each for each in QUERIES[name].text.splitlines() if re.search(r'Name == "(operation|step)"', each)]
    for line in lines:
        assert re.search(r"TimeGenerated > ago\((period \+ 2d|2d)\)", line)


@pytest.mark.parametrize("name", QUERIES)
def test_a_line_fits_the_page(name: str) -> None:
    assert max(len(line) for line in QUERIES[name].text.splitlines()) <= 120


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_what_berth_emits(name: str, answers: Mapping[str, Answer]) -> None:
    for read in answers[name].reads:
        for wrong in unknown(read):
            pytest.fail(f"{name}: {wrong}")
    if name not in BY_HOST:
        assert any(each.keys or each.compared for each in answers[name].reads if each.tables) or name in {
            "telemetry-volume"
        }


@pytest.mark.parametrize("rule", read_rules(), ids=lambda rule: rule.name)
def test_each_row_of_a_rule_has_an_alert_of_its_own(rule: Rule, answers: Mapping[str, Answer]) -> None:
    """What a row is about is a text: a cluster, a tenant. So a second one is told of while the first lasts."""
    assert set(rule.split) == set(answers[rule.query].texts)


def unknown(read: Read) -> list[str]:
    """Return what one pipeline names that berth does not emit."""
    found: list[str] = []
    keys = set(read.keys)
    match read.tables:
        case ["AppMetrics"]:
            names = set(read.names("Name"))
            found += [f"the metric {each}" for each in sorted(names) if each not in METRICS]
            known = set[str]().union(*(METRICS.get(each, ()) for each in names))
            found += ["all metrics"] * (not names)
            found += [
                f"{each} of {read.tables}" for each in read.columns if each in EXTREMES and not names <= HISTOGRAMS
            ]
        case ["AppDependencies"]:
            names = read.names("Name")
            found += [f"the span {each}" for each in names if each not in SPANS]
            known = set[str]().union(*(SPANS.get(each, ()) for each in names)) if names else set(OTHER_SPANS)
            known |= SPANS["step"] if "OperationId" in read.columns else set()
        case ["AppTraces"]:
            events = read.names("Message")
            fields = {each: RECORDED.get(each) or fields_of_event(each) for each in events}
            found += [f"the event {each}" for each, known in fields.items() if not known]
            known = set[str]().union(*fields.values())
            known |= COUNTS if any(each.startswith("sweep ") for each in events) else set()
            known |= {"tenant", "operation", "cause"} if not events else set()
        case _:
            known = set[str]()
    return found + [f"the key {each} of {read.tables}" for each in sorted(keys - known)]


@pytest.mark.parametrize(
    ("query", "right", "wrong", "what"),
    [
        ("failures-by-reason", "berth.operation.failures", "berth.operation.failure", "the metric berth.operation"),
        ("failures-by-reason", '["failure"]', '["reason"]', "the key reason of"),
        ("queue-waits", '| where TimeGenerated > ago(period) and Name == "berth.queue.wait"\n', "", "all metrics"),
        ("run-rate", "Sum)", "Max)", "Max of"),
        ("wakes", '"operation" and', '"operations" and', "the span operations"),
        ("wakes", '["queued_seconds"]', '["queue_seconds"]', "the key queue_seconds of"),
        ("over-budget", '"budget passed"', '"budget was passed"', "the event budget was passed"),
        ("over-budget", '["plan"]', '["cluster"]', "the key cluster of"),  # which other events have
        ("over-budget", '["budget"]', '["bugdet"]', "the key bugdet of"),
        ("sweeps", '"sweep refused"', '"sweeps refused"', "the event sweeps refused"),
        ("tenant-story", '["operation"]', '["operatoin"]', "the key operatoin of"),
        ("slow-calls", '["verb"]', '["method"]', "the key method of"),
    ],
)
def test_a_name_that_berth_does_not_emit_is_found(query: str, right: str, wrong: str, what: str) -> None:
    text = QUERIES[query].text
    assert right in text
    found = [each for read in check({"bad": text.replace(right, wrong)})["bad"].reads for each in unknown(read)]
    assert any(each.startswith(what) for each in found), found
