"""Where metrics and spans go. The container sets the recorder of its process; until then nothing is recorded."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

type Value = str | int | float


class Instrument(StrEnum):
    """What a metric's values mean."""

    COUNTER = "counter"
    """How often something happened; values add up."""
    HISTOGRAM = "histogram"
    """How long each of many things took, or how large it was."""
    GAUGE = "gauge"
    """How much of something there is at the moment of recording."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that berth records.

    Attributes:
        name: Its name, `berth.` first.
        instrument: What its values mean.
        unit: The unit in UCUM, as OpenTelemetry has it: `s`, `USD`, or a noun in braces for things that are counted.
        description: What it measures, and when it is recorded.
        dimensions: The names of its dimensions. Few values each; never a tenant.
    """

    name: str
    instrument: Instrument
    unit: str
    description: str
    dimensions: tuple[str, ...] = ()


class Span(Protocol):
    """A span that runs."""

    def set(self, **attributes: Value) -> None:
        """Add attributes."""
        ...

    def fail(self, error: str) -> None:
        """Mark it as failed, with the kind of the error; an error's message may hold anything and stays out."""
        ...


class Recorder(Protocol):
    """Takes metrics and spans."""

    def measure(self, metric: Metric, value: float, dimensions: Mapping[str, str]) -> None:
        """Record one value of a metric."""
        ...

    def span(
        self, name: str, attributes: Mapping[str, Value], *, is_call: bool, trace: str
    ) -> AbstractContextManager[Span]:
        """Run a span around what is done within.

        Args:
            name: What is done, the same each time.
            attributes: What it is done to.
            is_call: Whether another service does it, which the attribute `dependency` names.
            trace: Where it belongs, as `trace` returns it, if that may differ from what runs now; else empty.
        """
        ...

    def past_span(
        self,
        name: str,
        attributes: Mapping[str, Value],
        began: datetime,
        ended: datetime,
        *,
        trace: str,
        error: str = "",
    ) -> str:
        """Record a span that is over, and return it as a trace, for those that are part of it."""
        ...

    def event(self, name: str, attributes: Mapping[str, Value]) -> bool:
        """Add an event to the span that runs; False if none does."""
        ...

    def trace(self) -> str:
        """Return the trace and the span that run now, as W3C's `traceparent`, or an empty string."""
        ...

    def new_trace(self) -> str:
        """Return a new trace, for what is large enough to be looked at alone."""
        ...

    def within(self, trace: str) -> AbstractContextManager[None]:
        """Let what is done within belong to a trace; an empty one changes nothing."""
        ...


class _NoSpan:
    def set(self, **attributes: Value) -> None:
        pass

    def fail(self, error: str) -> None:
        pass


NO_SPAN: Span = _NoSpan()


class NoRecorder:
    """Records nothing."""

    def measure(self, metric: Metric, value: float, dimensions: Mapping[str, str]) -> None:
        """Do nothing."""

    def span(
        self, name: str, attributes: Mapping[str, Value], *, is_call: bool, trace: str
    ) -> AbstractContextManager[Span]:
        """Run nothing."""
        return nullcontext(NO_SPAN)

    def past_span(
        self,
        name: str,
        attributes: Mapping[str, Value],
        began: datetime,
        ended: datetime,
        *,
        trace: str,
        error: str = "",
    ) -> str:
        """Do nothing."""
        return ""

    def event(self, name: str, attributes: Mapping[str, Value]) -> bool:
        """Add nothing."""
        return False

    def trace(self) -> str:
        """Return nothing."""
        return ""

    def new_trace(self) -> str:
        """Return nothing."""
        return ""

    def within(self, trace: str) -> AbstractContextManager[None]:
        """Change nothing."""
        return nullcontext()


_recorder: Recorder = NoRecorder()


def recorder() -> Recorder:
    """Return the recorder of this process."""
    return _recorder


def use_recorder(chosen: Recorder) -> Recorder:
    """Set the recorder of this process, and return the one before it."""
    global _recorder
    before, _recorder = _recorder, chosen
    return before
