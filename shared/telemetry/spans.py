"""Spans: what berth did, for how long, and as a part of what.

A request, an activity and a sweep are work. Calls of Kubernetes and of the tables are recorded within work only: the
timers make more calls in a month than all operations, and those that fail are in the log.

Each span has the fields of `log_context`, too: tenant, instance, operation, cluster, where they are known.
"""

import asyncio
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from shared.errors import ANSWERS, BerthError
from shared.events import context_fields
from shared.telemetry.recorder import NO_SPAN, Span, Value, recorder

CONTEXT = ("tenant", "operation", "instance", "cluster", "sweep")
"""The fields of the log's context that a span can have."""


@dataclass(frozen=True, slots=True)
class SpanType:
    """A kind of span; `name` is empty where each has a name of its own."""

    name: str
    description: str
    attributes: tuple[str, ...]


OPERATION = SpanType(
    "operation",
    "One operation, or sweep, from the request to its end. Recorded at the end, once; what took more than 47 hours"
    " seems to have begun 47 hours before its end.",
    ("kind", "outcome", "failure", "plan", "version", "total_seconds", "queued_seconds", "waiting_seconds"),
)
STEP = SpanType("step", "A step of an operation or a sweep, as part of it.", ("kind", "step"))
WORK = SpanType(
    "",
    "An activity, by its name, such as `apply_tenant`; `verdict` is how it went on from there.",
    ("verdict", "error"),
)
KUBERNETES = SpanType(
    "",
    "A request to Kubernetes with its retries, named by verb and resource, such as `apply statefulsets`.",
    ("dependency", "verb", "resource", "error"),
)
TABLES = SpanType(
    "",
    "A call of the tables with its retries, named by verb and table, such as `transact tenants`.",
    ("dependency", "verb", "table", "writes", "error"),
)
TYPES = (OPERATION, STEP, WORK, KUBERNETES, TABLES)

_detailed: ContextVar[bool] = ContextVar("detailed", default=False)


@contextmanager
def work(name: str, *, trace: str = "", calls: bool = True, **attributes: Value) -> Generator[Span]:
    """Record one piece of work as a span.

    Args:
        name: What is done, the same each time.
        trace: The trace that it belongs to, if another may run.
        calls: Whether the calls within it are recorded, too.
        attributes: What it is done to, beside the log's context.
    """
    with (
        _detail(recorded=calls),
        recorder().span(name, {**context_fields(), **attributes}, is_call=False, trace=trace) as span,
    ):
        try:
            yield span
        except BaseException as error:
            span.fail(type(error).__name__)
            raise
        finally:
            span.set(**context_fields())  # with what became known meanwhile


def with_calls() -> AbstractContextManager[None]:
    """Record the calls within a piece of work that somebody else records, as the host does a request."""
    return _detail(recorded=True)


@contextmanager
def _detail(*, recorded: bool) -> Generator[None]:
    token = _detailed.set(recorded)
    try:
        yield
    finally:
        _detailed.reset(token)


@contextmanager
def call(
    dependency: str, verb: str, answers: tuple[type[BerthError], ...] = ANSWERS, /, **attributes: Value
) -> Generator[Span]:
    """Record a call of another service as a span, if it is made within work.

    Args:
        dependency: The service.
        verb: What it is asked to do.
        answers: The errors that are an answer and no failure of the service.
        attributes: To what; the first one is part of the span's name.
    """
    if not _detailed.get():
        yield NO_SPAN
        return
    name = f"{verb} {next(iter(attributes.values()), '')}".rstrip()
    fields = {**context_fields(), "dependency": dependency, "verb": verb, **attributes}
    with recorder().span(name, fields, is_call=True, trace="") as span:
        try:
            yield span
        except answers as error:
            span.set(error=type(error).__name__)
            raise
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            span.fail(type(error).__name__)
            raise
