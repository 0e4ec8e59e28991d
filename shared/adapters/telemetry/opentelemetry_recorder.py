"""Metrics and spans by OpenTelemetry's API, whatever exports them."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import datetime
from threading import Lock

from opentelemetry import context as contexts
from opentelemetry import trace as traces
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from shared.private_text import without_private
from shared.telemetry.metrics import SECONDS_BUCKETS
from shared.telemetry.recorder import Instrument, Metric, Span, Value

_IDS = RandomIdGenerator()
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class _OpenTelemetrySpan:
    def __init__(self, span: traces.Span) -> None:
        self._span = span

    def set(self, **attributes: Value) -> None:
        self._span.set_attributes(_told(attributes))

    def fail(self, error: str) -> None:
        self._span.set_attribute("error", error)
        self._span.set_status(Status(StatusCode.ERROR))


class _Gauge:
    """Sends each value once. OpenTelemetry's own gauge goes on sending its last value for as long as the process lives.

    A timer runs in one worker now and in another one later: what the first saw then must not hide what is true.
    """

    def __init__(self) -> None:
        self._values: dict[frozenset[tuple[str, str]], float] = {}
        self._lock = Lock()  # the exporter collects in a thread of its own

    def set(self, value: float, dimensions: Mapping[str, str]) -> None:
        with self._lock:
            self._values[frozenset(dimensions.items())] = value

    def observations(self, _: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            values, self._values = self._values, {}
        return [Observation(value, dict(dimensions)) for dimensions, value in values.items()]


class OpenTelemetryRecorder:
    """Implements `shared.telemetry.recorder.Recorder`."""

    def __init__(self, tracer: Tracer, meter: Meter) -> None:
        self._tracer = tracer
        self._meter = meter
        self._instruments: dict[str, Callable[[float, Mapping[str, str]], None]] = {}

    def measure(self, metric: Metric, value: float, dimensions: Mapping[str, str]) -> None:
        """Record one value of a metric."""
        instrument = self._instruments.get(metric.name)
        if instrument is None:
            instrument = self._instruments.setdefault(metric.name, self._make(metric))
        instrument(value, dimensions)

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Value], *, is_call: bool, trace: str) -> Generator[Span]:
        """Run a span around what is done within."""
        running = traces.get_current_span().get_span_context()
        given = _span_context(trace)
        parent, links = None, None
        if given is not None and given.trace_id != running.trace_id:
            # What delivered this work belongs to another trace, such as that of the timer which restarted it.
            parent = traces.set_span_in_context(NonRecordingSpan(given))
            links = [Link(running)] if running.is_valid else None
        # Of all kinds of calls, the exporter takes only a database's type and target as they are.
        kind = {"db.system.name": attributes["dependency"]} if is_call else {}
        with self._tracer.start_as_current_span(
            name,
            parent,
            kind=SpanKind.CLIENT if is_call else SpanKind.INTERNAL,
            attributes=_told({**attributes, **kind}),
            links=links,
            record_exception=False,  # its message may hold anything
            set_status_on_exception=False,
        ) as span:
            yield _OpenTelemetrySpan(span)

    def past_span(
        self,
        name: str,
        attributes: Mapping[str, Value],
        began: datetime,
        ended: datetime,
        *,
        trace: str,
        has_failed: bool = False,
    ) -> str:
        """Record a span that is over, and return it as a trace, for those that are part of it."""
        given = _span_context(trace)
        parent = traces.set_span_in_context(NonRecordingSpan(given)) if given is not None else None
        span = self._tracer.start_span(name, parent, attributes=_told(attributes), start_time=_nanoseconds(began))
        if has_failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(max(began, ended)))
        return _traceparent(span.get_span_context())

    def event(self, name: str, attributes: Mapping[str, Value]) -> bool:
        """Add an event to the span that runs; False if none does."""
        span = traces.get_current_span()
        span.add_event(name, _told(attributes))
        return span.is_recording()

    def trace(self) -> str:
        """Return the trace and the span that run now, as W3C's `traceparent`, or an empty string."""
        return _traceparent(traces.get_current_span().get_span_context())

    def new_trace(self) -> str:
        """Return a new trace, for what is large enough to be looked at alone."""
        made = SpanContext(_IDS.generate_trace_id(), _IDS.generate_span_id(), is_remote=True, trace_flags=_SAMPLED)
        return _traceparent(made)

    @contextmanager
    def within(self, trace: str) -> Generator[None]:
        """Let what is done within belong to a trace; an empty one changes nothing."""
        given = _span_context(trace)
        if given is None:
            yield
            return
        token = contexts.attach(traces.set_span_in_context(NonRecordingSpan(given)))
        try:
            yield
        finally:
            contexts.detach(token)

    def _make(self, metric: Metric) -> Callable[[float, Mapping[str, str]], None]:
        match metric.instrument:
            case Instrument.COUNTER:
                return self._meter.create_counter(metric.name, metric.unit, metric.description).add
            case Instrument.GAUGE:
                gauge = _Gauge()
                self._meter.create_observable_gauge(metric.name, [gauge.observations], metric.unit, metric.description)
                return gauge.set
            case Instrument.HISTOGRAM:
                return self._meter.create_histogram(
                    metric.name,
                    metric.unit,
                    metric.description,
                    explicit_bucket_boundaries_advisory=SECONDS_BUCKETS,
                ).record


def _told(attributes: Mapping[str, Value]) -> Mapping[str, Value]:
    """Return attributes without anything private: the cause of a retry, or a name in a path, may quote anything."""
    return {name: without_private(each) if isinstance(each, str) else each for name, each in attributes.items()}


def _traceparent(span: SpanContext) -> str:
    if not span.is_valid:
        return ""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


def _span_context(trace: str) -> SpanContext | None:
    """Return the span that a `traceparent` names, or None for one that names none."""
    parts = trace.split("-")
    if [len(part) for part in parts] != [2, 32, 16, 2]:
        return None
    try:
        numbers = [int(part, 16) for part in parts]
    except ValueError:
        return None
    found = SpanContext(numbers[1], numbers[2], is_remote=True, trace_flags=TraceFlags(numbers[3]))
    return found if found.is_valid else None


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000) * 1000
