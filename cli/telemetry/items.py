"""Telemetry items as Application Insights shows them, read from the envelopes in which they were sent."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from cli.api import Json

SPANS = ("RequestData", "RemoteDependencyData")
LOGS = ("MessageData", "ExceptionData")
_SEVERITIES = ("verbose", "information", "warning", "error", "critical")
_RESOURCE = "_OTELRESOURCE_"
_TIME_SPAN = re.compile(r"(?:(\d+)[.:])?(\d+):(\d+):(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Item:
    """One span, log record or exception.

    Attributes:
        kind: The type of its data, such as RequestData.
        time: When it began.
        role: Who sent it: the host, or the app.
        trace: The trace that it is part of, if any.
        parent: The id of the span above it, if any.
        span: Its own id, if it is a span.
        name: The name of a span, and the text of the others.
        result: The response of a request or call; the severity of a log record.
        seconds: How long a span took.
        failed: Whether a span has failed, or whether it is an exception.
        properties: What else was sent.
    """

    kind: str
    time: datetime
    role: str
    trace: str
    parent: str
    span: str
    name: str
    result: str
    seconds: float
    failed: bool
    properties: Mapping[str, str]

    @classmethod
    def of(cls, envelope: Json) -> Self:
        """Return what an envelope holds."""
        tags, kind, data = _fields(envelope, "tags"), envelope["data"]["baseType"], envelope["data"]["baseData"]
        name, result, failed = str(data.get("name", "")), "", False
        if kind in SPANS:
            result = str(data.get("responseCode" if kind == "RequestData" else "resultCode") or "")
            result, failed = "" if result == "0" else result, not data.get("success", True)
        elif kind == "MessageData":
            level = data.get("severityLevel") or ""
            name, result = data["message"], _SEVERITIES[level] if isinstance(level, int) else level.lower()
        elif kind == "ExceptionData":
            first = data["exceptions"][0]
            name, result, failed = f"{first['typeName']}: {first['message']}", "exception", True
        return cls(
            kind=kind,
            time=datetime.fromisoformat(envelope["time"]),
            role=tags.get("ai.cloud.role", ""),
            trace=trace_of(envelope),
            parent=tags.get("ai.operation.parentId", ""),
            span=str(data.get("id", "")) if kind in SPANS else "",
            name=name,
            result=result,
            seconds=_seconds(data.get("duration", "")),
            failed=failed,
            properties=_fields(data, "properties"),
        )


@dataclass(frozen=True, slots=True)
class Point:
    """The last value of one metric with certain dimensions; of a histogram, of what came in one export."""

    name: str
    dimensions: str
    role: str
    value: float
    count: int
    minimum: float | None
    maximum: float | None


def items(envelopes: Iterable[Json]) -> list[Item]:
    """Return all spans, log records and exceptions, the oldest first."""
    found = [Item.of(each) for each in envelopes if each["data"]["baseType"] in (*SPANS, *LOGS)]
    return sorted(found, key=lambda each: each.time)


def points(envelopes: Iterable[Json]) -> list[Point]:
    """Return the last value of each metric, by name; but not the exporter's description of itself."""
    last: dict[tuple[str, str, str], Point] = {}
    for envelope in envelopes:
        data = envelope["data"]["baseData"]
        for metric in data["metrics"] if envelope["data"]["baseType"] == "MetricData" else ():
            if metric["name"] == _RESOURCE:
                continue
            known = _fields(data, "properties").items()
            dimensions = " ".join(f"{name}={value}" for name, value in sorted(known) if not name.startswith("_MS."))
            role = str(_fields(envelope, "tags").get("ai.cloud.role", ""))
            count = metric.get("count") or 1
            low, high = metric.get("min"), metric.get("max")
            last[metric["name"], dimensions, role] = Point(
                metric["name"], dimensions, role, metric["value"], count, low, high
            )
    return [last[key] for key in sorted(last)]


def about(found: Sequence[Item], *, tenant: str, operation: str, trace: str) -> list[Item]:
    """Return the items of all traces that are about a tenant and an operation; an empty word fits all.

    Args:
        found: The items.
        tenant: A slug.
        operation: An id.
        trace: The first characters of a trace's id.
    """
    asked = {name: value for name, value in (("tenant", tenant), ("operation", operation)) if value}
    fitting = {each.trace for each in found if asked.items() <= each.properties.items()} if asked else None
    return [
        each
        for each in found
        if each.trace.startswith(trace)
        and (fitting is None or (each.trace in fitting if each.trace else asked.items() <= each.properties.items()))
    ]


def trace_of(envelope: Json) -> str:
    """Return the trace that an envelope is part of, if any."""
    return str(_fields(envelope, "tags").get("ai.operation.id", ""))


def _fields(value: Json, name: str) -> Json:
    """Return an object within another one, which may lack it."""
    found: Json | None = value.get(name)
    return {} if found is None else found


def _seconds(text: str) -> float:
    match = _TIME_SPAN.fullmatch(text)
    if match is None:
        return 0.0
    days, hours, minutes, seconds = (float(each or 0) for each in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
