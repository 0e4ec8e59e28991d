"""The recorder, on OpenTelemetry's own SDK with its exporters in memory."""

import asyncio
from datetime import timedelta

import pytest
from azure.monitor.opentelemetry.exporter.export.metrics._exporter import APPLICATION_INSIGHTS_METRIC_TEMPORALITIES
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from shared.adapters.telemetry.opentelemetry_recorder import OpenTelemetryRecorder
from shared.private_text import REMOVED
from shared.telemetry import metrics
from tests.support.clock import START

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-1bf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Recorded:
    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        # With the temporality of what is sent to Azure Monitor.
        self._metrics = InMemoryMetricReader(preferred_temporality=dict(APPLICATION_INSIGHTS_METRIC_TEMPORALITIES))
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        meters = MeterProvider([self._metrics])
        self.recorder = OpenTelemetryRecorder(tracers.get_tracer("test"), meters.get_meter("test"))

    def span(self, name: str) -> ReadableSpan:
        [found] = [each for each in self._spans.get_finished_spans() if each.name == name]
        return found

    def points(self) -> dict[str, tuple[str, list[dict[str, object]]]]:
        data = self._metrics.get_metrics_data()
        if data is None:
            return {}
        found = [each for of in data.resource_metrics for scope in of.scope_metrics for each in scope.metrics]
        return {
            each.name: (each.unit or "", [dict(p.attributes or {}) for p in each.data.data_points]) for each in found
        }


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def traceparent(span: ReadableSpan) -> str:
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def test_a_span_within_a_trace_is_a_part_of_it(recorded: Recorded) -> None:
    recorder = recorded.recorder
    with (
        recorder.within(TRACE),
        recorder.span("outer", {"tenant": "acme"}, is_call=False, trace=""),
        recorder.span("inner", {"dependency": "tables"}, is_call=True, trace=TRACE) as inner,
    ):
        inner.fail("Transient")
        running = recorder.trace()
    outer, inner_span = recorded.span("outer"), recorded.span("inner")
    assert outer.parent is not None
    assert f"{outer.parent.span_id:016x}" == "b7ad6b7169203331"
    assert traceparent(inner_span) == running
    assert inner_span.parent == outer.get_span_context()
    assert (outer.kind, inner_span.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT)
    assert dict(inner_span.attributes or {}) == {
        "dependency": "tables",
        "db.system.name": "tables",
        "error": "Transient",
    }
    assert not inner_span.status.is_ok
    assert outer.status.is_ok


def test_work_of_another_trace_goes_back_to_its_own(recorded: Recorded) -> None:
    with recorded.recorder.within(OTHER), recorded.recorder.span("work", {}, is_call=False, trace=TRACE):
        pass
    span = recorded.span("work")
    assert traceparent(span)[3:35] == TRACE[3:35]
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [OTHER[3:35]]


@pytest.mark.parametrize(
    "trace", ["", "00-0-0-01", "garbage", f"00-{'0' * 32}-{'0' * 16}-01", f"00-{'g' * 32}-{'1' * 16}-01"]
)
def test_what_is_no_trace_changes_nothing(recorded: Recorded, trace: str) -> None:
    with recorded.recorder.within(trace), recorded.recorder.span("work", {}, is_call=False, trace=trace):
        pass
    assert recorded.span("work").parent is None


def test_a_span_that_is_over_has_its_own_times(recorded: Recorded) -> None:
    later = START + timedelta(seconds=9)
    whole = recorded.recorder.past_span("operation", {}, START, later, trace=TRACE, has_failed=True)
    recorded.recorder.past_span("step", {}, START, START - timedelta(seconds=1), trace=whole)
    operation, step = recorded.span("operation"), recorded.span("step")
    assert operation.start_time == int(START.timestamp()) * 10**9
    assert operation.end_time == int(later.timestamp()) * 10**9
    assert step.end_time == step.start_time  # the clock was set back
    assert step.parent is not None
    assert whole == traceparent(operation)
    assert not operation.status.is_ok


def test_an_event_needs_a_span_that_runs(recorded: Recorded) -> None:
    assert not recorded.recorder.event("retry", {})
    with recorded.recorder.within(TRACE):
        assert not recorded.recorder.event("retry", {})
    with recorded.recorder.span("call", {"dependency": "tables"}, is_call=True, trace=""):
        assert recorded.recorder.event("retry", {"attempt": 1})
    assert [each.name for each in recorded.span("call").events] == ["retry"]


async def test_tasks_keep_their_traces_apart(recorded: Recorded) -> None:
    async def work(name: str, trace: str) -> None:
        with recorded.recorder.span(name, {}, is_call=False, trace=trace):
            await asyncio.sleep(0)

    await asyncio.gather(work("one", TRACE), work("two", OTHER))
    assert traceparent(recorded.span("one"))[3:35] == TRACE[3:35]
    assert traceparent(recorded.span("two"))[3:35] == OTHER[3:35]


def test_metrics_have_their_units_and_dimensions(recorded: Recorded) -> None:
    for metric in metrics.all_metrics():
        recorded.recorder.measure(metric, 1.0, dict.fromkeys(metric.dimensions, "x"))
    points = recorded.points()
    for metric in metrics.all_metrics():
        assert points[metric.name] == (metric.unit, [dict.fromkeys(metric.dimensions, "x")])


def test_a_gauge_is_sent_once_each_time_it_is_set(recorded: Recorded) -> None:
    def seen() -> list[dict[str, object]]:
        return recorded.points().get(metrics.BREAKER_OPEN.name, ("", []))[1]

    recorded.recorder.measure(metrics.BREAKER_OPEN, 1.0, {"cluster": "one"})
    recorded.recorder.measure(metrics.BREAKER_OPEN, 0.0, {"cluster": "two"})
    assert seen() == [{"cluster": "one"}, {"cluster": "two"}]
    assert seen() == []
    recorded.recorder.measure(metrics.BREAKER_OPEN, 0.0, {"cluster": "one"})
    assert seen() == [{"cluster": "one"}]


def test_a_new_trace_is_another_one_each_time(recorded: Recorded) -> None:
    first, second = recorded.recorder.new_trace(), recorded.recorder.new_trace()
    assert first != second
    with recorded.recorder.within(first):
        assert recorded.recorder.trace() == first


def test_a_span_tells_nothing_private(recorded: Recorded) -> None:
    with recorded.recorder.span("get pods", {"tenant": "owner@example.com"}, is_call=False, trace="") as span:
        span.set(error="Bearer 8f2c4b0d6e")
        recorded.recorder.event("retry", {"cause": "denied: owner@example.com", "attempt": 2})
    recorded.recorder.past_span("step", {"step": "owner@example.com"}, START, START, trace=TRACE)
    found = recorded.span("get pods")
    assert dict(found.attributes or {}).items() >= {"tenant": REMOVED, "error": f"Bearer {REMOVED}"}.items()
    [event] = found.events
    assert dict(event.attributes or {}) == {"cause": f"denied: {REMOVED}", "attempt": 2}
    assert dict(recorded.span("step").attributes or {}) == {"step": REMOVED}
