"""The host's spans, which Azure's host makes for each invocation when host.json says telemetryMode OpenTelemetry.

Unless they are exported nothing is recorded, and an invocation only passes its caller's context on.
docs/architecture.md says what the real host and the Durable extension do, and where that is written.
"""

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import context, trace
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from local.host.app import Function

_given: ContextVar[int] = ContextVar("the id of the next span", default=0)
_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("local.host")


class SpanIds(RandomIdGenerator):
    """Gives spans the id that `record` was told, and else a random one."""

    def generate_span_id(self) -> int:
        """Return the id of the next span."""
        return _given.get() or super().generate_span_id()


@contextmanager
def span(
    name: str,
    kind: SpanKind,
    headers: Mapping[str, str] | None = None,
    attributes: Mapping[str, str | int] | None = None,
) -> Generator[Span]:
    """Make a span that is current meanwhile, and that has failed if an exception leaves it.

    Args:
        name: Its name.
        kind: Its kind.
        headers: Where its parent's `traceparent` and `tracestate` stand, if it has one.
        attributes: Its attributes.
    """
    parent = _propagator.extract(headers or {})
    with _tracer.start_as_current_span(
        name, parent, kind, attributes, record_exception=False, set_status_on_exception=False
    ) as made:
        try:
            yield made
        except (Exception, asyncio.CancelledError) as error:
            # Of an exception of the app only its class: its text may hold what is nobody's business.
            made.set_status(StatusCode.ERROR, getattr(error, "kind", "") or type(error).__name__)
            raise


def record(
    name: str,
    kind: SpanKind,
    own: SpanContext,
    parent: SpanContext,
    *,
    nanoseconds: tuple[int, int],
    attributes: Mapping[str, str | int],
    error: str = "",
) -> None:
    """Make a span of something that has ended, with the id that others have as their parent's already.

    Args:
        name: Its name.
        kind: Its kind.
        own: Has its id.
        parent: Its parent.
        nanoseconds: When it began and ended.
        attributes: Its attributes.
        error: Why it failed, if it did.
    """
    began, ended = nanoseconds
    token = _given.set(own.span_id)
    try:
        made = _tracer.start_span(name, within(parent), kind, attributes, start_time=began)
    finally:
        _given.reset(token)
    if error:
        made.set_status(StatusCode.ERROR, error)
    made.end(ended)


def within(span: SpanContext) -> context.Context:
    """Return the context in which a span of another process is current."""
    return trace.set_span_in_context(trace.NonRecordingSpan(span))


def describe(function: Function, instance: str) -> None:
    """Add to the current span what the host says of each invocation: the function, its trigger, and the instance."""
    trigger = "http" if function.kind == "httpTrigger" else function.kind
    attributes = {"faas.name": function.name, "faas.trigger": trigger, "faas.instance": instance}
    trace.get_current_span().set_attributes(attributes)


def headers() -> dict[str, str]:
    """Return `traceparent` and `tracestate` of the current span; none if there is none."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier


def context_of(traceparent: str, tracestate: str = "") -> SpanContext:
    """Return the context that these two name; it is not valid if they are not."""
    carrier = {"traceparent": traceparent, "tracestate": tracestate}
    return trace.get_current_span(_propagator.extract(carrier)).get_span_context()
