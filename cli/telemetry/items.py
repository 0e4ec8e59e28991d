"""Telemetry items as Application Insights shows them, read from the envelopes in which they were sent."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from cli.api import Json
from shared.telemetry.metrics import all_metrics
from shared.telemetry.recorder import Metric
from shared.telemetry.spans import OPERATION

SPANS = ("RequestData", "RemoteDependencyData")
LOGS = ("MessageData", "ExceptionData")
_SEVERITIES = ("verbose", "information", "warning", "error", "critical")
_METRICS = {each.name: each for each in all_metrics()}
# How the host names the spans of a durable function: in a trace that has one, an operation was begun.
_DURABLE = ("create_orchestration:", "orchestration:", "activity:")
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
        envelope: All of it, as it was sent.
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
    envelope: Json

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
            trace=tags.get("ai.operation.id", ""),
            parent=tags.get("ai.operation.parentId", ""),
            span=str(data.get("id", "")) if kind in SPANS else "",
            name=name,
            result=result,
            seconds=_seconds(data.get("duration", "")),
            failed=failed,
            properties=_fields(data, "properties"),
            envelope=envelope,
        )


@dataclass(slots=True)
class Values:
    """All values of one metric with certain dimensions, as they were exported."""

    metric: Metric
    dimensions: str
    sum: float = 0.0
    last: float = 0.0
    count: int = 0
    least: float = math.inf
    most: float = -math.inf

    def add(self, exported: Json) -> None:
        """Add what came in one export: the sum of a number of values, and the least and the most of them."""
        self.last = exported["value"]
        self.sum += self.last
        self.count += exported.get("count") or 1
        self.least = min(self.least, exported.get("min", self.last))
        self.most = max(self.most, exported.get("max", self.last))


def items(envelopes: Iterable[Json]) -> list[Item]:
    """Return all spans, log records and exceptions, the oldest first."""
    found = [Item.of(each) for each in envelopes if each["data"]["baseType"] in (*SPANS, *LOGS)]
    return sorted(found, key=lambda each: each.time)


def measured(envelopes: Iterable[Json]) -> list[Values]:
    """Return the values of each of berth's metrics, by name."""
    found: dict[tuple[str, str], Values] = {}
    for envelope in of_metrics(envelopes):
        data = envelope["data"]["baseData"]
        known = _fields(data, "properties").items()
        dimensions = " ".join(f"{name}={value}" for name, value in sorted(known) if not name.startswith("_MS."))
        for each in data["metrics"]:
            if metric := _METRICS.get(each["name"]):
                found.setdefault((metric.name, dimensions), Values(metric, dimensions)).add(each)
    return [found[key] for key in sorted(found)]


def of_metrics(envelopes: Iterable[Json]) -> list[Json]:
    """Return the envelopes with a metric of berth, the oldest first; others are the exporter's own."""
    found = [
        each
        for each in envelopes
        if each["data"]["baseType"] == "MetricData"
        and any(metric["name"] in _METRICS for metric in each["data"]["baseData"]["metrics"])
    ]
    return sorted(found, key=lambda each: datetime.fromisoformat(each["time"]))


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


def chosen(what: str, found: Sequence[Item], limit: int) -> list[Item]:
    """Return the last ones of `found`: requests, logs, or all items of the traces that began last."""
    if what == "traces":
        last = list(dict.fromkeys(each.trace for each in found if each.trace))[-limit:]
        return [each for each in found if each.trace in last]
    kinds = LOGS if what == "logs" else ("RequestData",)
    return [each for each in found if each.kind in kinds][-limit:]


def of_operations(found: Sequence[Item], *, tenant: str, operation: str) -> list[Item]:
    """Return the items of the traces in which operations were done, one trace for each; all items if none was begun.

    A request to cancel one and a request that was refused name an operation, too, but have traces of their own.

    Args:
        found: The items.
        tenant: Whose operations, unless it is empty.
        operation: Which one, unless it is empty.
    """
    begun = {each.trace for each in found if each.name.startswith(_DURABLE)}
    best: dict[str, tuple[int, str]] = {}
    for each in found:
        properties = each.properties
        id_ = properties.get("operation", "")
        if not (id_ and each.trace) or (operation or id_) != id_ or tenant not in ("", properties.get("tenant")):
            continue
        if each.name == OPERATION.name:
            rank = 0
        elif each.kind == "RemoteDependencyData" and "dependency" not in properties:
            rank = 1  # an activity, or a step
        else:
            rank = 2 if each.trace in begun else 3
        if rank < best.get(id_, (4, ""))[0]:
            best[id_] = rank, each.trace
    traces = {trace for rank, trace in best.values() if rank < 3}
    return [each for each in found if each.trace in traces] if traces else list(found)


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
