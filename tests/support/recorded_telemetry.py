"""A recorder that keeps metrics and spans, and refuses what the catalogue does not have."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from shared.telemetry import spans
from shared.telemetry.metrics import all_metrics
from shared.telemetry.recorder import Metric, Span, Value, use_recorder

_NAMED = {each.name: {*each.attributes, *spans.CONTEXT} for each in spans.TYPES if each.name}
_OTHERS = {*spans.CONTEXT, *(key for each in spans.TYPES if not each.name for key in each.attributes)}


@dataclass
class RecordedSpan:
    """A span. `trace` is its own; `parent` that of the span that it is a part of, or empty."""

    name: str
    attributes: dict[str, Value]
    trace: str
    parent: str = ""
    is_call: bool = False
    error: str = ""
    has_failed: bool = False
    began: datetime | None = None
    ended: datetime | None = None
    events: list[tuple[str, Mapping[str, Value]]] = field(default_factory=list[tuple[str, Mapping[str, Value]]])

    def set(self, **attributes: Value) -> None:
        """Add attributes."""
        self.attributes |= attributes

    def fail(self, error: str) -> None:
        """Mark it as failed."""
        self.error = error


class RecordedTelemetry:
    """Implements `shared.telemetry.recorder.Recorder`."""

    def __init__(self) -> None:
        self.measured: list[tuple[Metric, float, dict[str, str]]] = []
        self.spans: list[RecordedSpan] = []
        self._numbers = count(1)
        self._running: ContextVar[RecordedSpan | None] = ContextVar("running", default=None)
        self._within: ContextVar[str] = ContextVar("within", default="")

    def values(self, metric: Metric, **dimensions: str) -> list[float]:
        """Return the values of a metric that have these dimensions, among others."""
        wanted = dimensions.items()
        return [value for each, value, found in self.measured if each == metric and wanted <= found.items()]

    def named(self, name: str) -> list[RecordedSpan]:
        """Return the spans of a name."""
        return [each for each in self.spans if each.name == name]

    def measure(self, metric: Metric, value: float, dimensions: Mapping[str, str]) -> None:
        """Keep a value."""
        assert metric in all_metrics(), metric
        assert set(dimensions) == set(metric.dimensions), (metric.name, dimensions)
        assert all(type(each) is str or isinstance(each, str) for each in dimensions.values()), dimensions
        self.measured.append((metric, value, dict(dimensions)))

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Value], *, is_call: bool, trace: str) -> Generator[Span]:
        """Keep a span."""
        running = self.trace()
        parent = trace if trace and trace.split("-")[1] != running[3:35] else running
        made = RecordedSpan(name, dict(attributes), self._child(parent), parent, is_call)
        self.spans.append(made)
        token = self._running.set(made)
        try:
            yield made
        finally:
            self._running.reset(token)
            _check(made)

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
        """Keep a span that is over."""
        made = RecordedSpan(
            name, dict(attributes), self._child(trace), trace, has_failed=has_failed, began=began, ended=ended
        )
        self.spans.append(made)
        _check(made)
        return made.trace

    def event(self, name: str, attributes: Mapping[str, Value]) -> bool:
        """Keep an event."""
        running = self._running.get()
        if running is not None:
            running.events.append((name, attributes))
        return running is not None

    def trace(self) -> str:
        """Return what runs."""
        running = self._running.get()
        return running.trace if running is not None else self._within.get()

    def new_trace(self) -> str:
        """Return a new trace."""
        return self._child("")

    @contextmanager
    def within(self, trace: str) -> Generator[None]:
        """Go on within a trace."""
        tokens = self._within.set(trace or self.trace()), self._running.set(None)
        try:
            yield
        finally:
            self._within.reset(tokens[0])
            self._running.reset(tokens[1])

    def _child(self, parent: str) -> str:
        number = next(self._numbers)
        return f"00-{parent[3:35] or f'{number:032x}'}-{number:016x}-01"


@contextmanager
def recorded_telemetry() -> Generator[RecordedTelemetry]:
    """Keep what is recorded within this context."""
    made = RecordedTelemetry()
    before = use_recorder(made)
    try:
        yield made
    finally:
        use_recorder(before)


def _check(span: RecordedSpan) -> None:
    unknown = span.attributes.keys() - _NAMED.get(span.name, _OTHERS)
    assert not unknown, f"the span {span.name} has attributes that its type does not have: {unknown}"
