"""The fields that a telemetry item may have, and their limits, as Microsoft has published them.

Names and limits are those of EndpointSpecs/Schemas/Bond in microsoft/ApplicationInsights-Home. The texts with a number
are those of the service, as reports of its responses quote them (microsoft/ApplicationInsights-JS#1107 and #2086 has
100, the endpoint's protocol has 103). What the service says of a value of the wrong type is not known; here it is
refused without a number.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

OLDEST_MILLISECONDS = 172_800_000
NEWEST_MILLISECONDS = 7_200_000
MAX_KEY = 150
MAX_VALUE = 8192
_TIME_SPAN = re.compile(r"(\d+[.:])?\d{1,2}:\d\d:\d\d(\.\d{1,7})?")


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    Attributes:
        kind: text, time span, number, flag, object, texts (a map of texts), numbers (a map of numbers), or list.
        limit: How many characters a text may have.
        required: Whether it has to be there.
        of: The type of a list's elements.
    """

    kind: str
    limit: int = 0
    required: bool = False
    of: "Type | None" = None


@dataclass(frozen=True, slots=True)
class Type:
    """A type of the schema."""

    name: str
    fields: Mapping[str, Field]


def _text(limit: int, *, required: bool = False) -> Field:
    return Field("text", limit, required)


_NUMBER, _REQUIRED_NUMBER, _FLAG = Field("number"), Field("number", required=True), Field("flag")
_TIME = Field("time span", required=True)
_CUSTOM = {"properties": Field("texts"), "measurements": Field("numbers")}
_VERSION = {"ver": _REQUIRED_NUMBER}

ENVELOPE = Type(
    "Envelope",
    {
        "ver": _NUMBER,
        "name": _text(1024, required=True),
        "time": _text(64, required=True),
        "sampleRate": _NUMBER,
        "seq": _text(64),
        "iKey": _text(40),
        "flags": _NUMBER,
        "tags": Field("texts"),
        "data": Field("object", required=True),
    },
)
TAGS = Type(
    "ContextTagKeys",
    {
        "ai.application.ver": _text(1024),
        "ai.cloud.location": _text(256),
        "ai.cloud.role": _text(256),
        "ai.cloud.roleInstance": _text(256),
        "ai.cloud.roleVer": _text(256),
        "ai.device.id": _text(1024),
        "ai.device.locale": _text(64),
        "ai.device.model": _text(256),
        "ai.device.oemName": _text(256),
        "ai.device.osVersion": _text(256),
        "ai.device.type": _text(64),
        "ai.internal.agentVersion": _text(64),
        "ai.internal.nodeName": _text(256),
        "ai.internal.sdkVersion": _text(64),
        "ai.location.ip": _text(46),
        "ai.operation.id": _text(128),
        "ai.operation.name": _text(1024),
        "ai.operation.parentId": _text(512),
        "ai.operation.syntheticSource": _text(1024),
        "ai.session.id": _text(64),
        "ai.user.accountId": _text(1024),
        "ai.user.authUserId": _text(1024),
        "ai.user.id": _text(128),
    },
)
_STACK_FRAME = Type(
    "StackFrame",
    {
        "level": _REQUIRED_NUMBER,
        "method": _text(1024, required=True),
        "assembly": _text(1024),
        "fileName": _text(1024),
        "line": _NUMBER,
    },
)
_EXCEPTION = Type(
    "ExceptionDetails",
    {
        "id": _NUMBER,
        "outerId": _NUMBER,
        "typeName": _text(1024, required=True),
        "message": _text(32768, required=True),
        "hasFullStack": _FLAG,
        "stack": _text(32768),
        "parsedStack": Field("list", of=_STACK_FRAME),
    },
)
_DATA_POINT = Type(
    "DataPoint",
    {
        "ns": _text(256),
        "name": _text(1024, required=True),
        "value": _REQUIRED_NUMBER,
        "count": _NUMBER,
        "min": _NUMBER,
        "max": _NUMBER,
        "stdDev": _NUMBER,
    },
)
DATA = {
    each.name: each
    for each in (
        Type(
            "RequestData",
            {
                **_VERSION,
                "id": _text(512, required=True),
                "duration": _TIME,
                "responseCode": _text(1024, required=True),
                "success": Field("flag", required=True),
                "source": _text(1024),
                "name": _text(1024),
                "url": _text(2048),
                **_CUSTOM,
            },
        ),
        Type(
            "RemoteDependencyData",
            {
                **_VERSION,
                "name": _text(1024, required=True),
                "id": _text(512),
                "resultCode": _text(1024),
                "duration": _TIME,
                "success": _FLAG,
                "data": _text(8192),
                "type": _text(1024),
                "target": _text(1024),
                **_CUSTOM,
            },
        ),
        Type("MessageData", {**_VERSION, "message": _text(32768, required=True), **_CUSTOM}),
        Type(
            "ExceptionData",
            {
                **_VERSION,
                "exceptions": Field("list", required=True, of=_EXCEPTION),
                "problemId": _text(1024),
                **_CUSTOM,
            },
        ),
        Type("EventData", {**_VERSION, "name": _text(512, required=True), **_CUSTOM}),
        Type(
            "MetricData",
            {**_VERSION, "metrics": Field("list", required=True, of=_DATA_POINT), "properties": Field("texts")},
        ),
    )
}


def fault(item: Any, key: str, now: datetime) -> str:
    """Return why the service would refuse a telemetry item, or nothing if it would take it.

    Args:
        item: The item, as it was sent.
        key: The instrumentation key of the resource.
        now: The time at which it came.
    """
    envelope = fields(item)
    found = _check(ENVELOPE, envelope) or _check_time(envelope["time"], now)
    if found:
        return found
    if envelope.get("iKey") != key:
        return "Invalid instrumentation key"
    kind = envelope["data"].get("baseType")
    if kind not in DATA:
        return f"the baseType {kind!r} is not known"
    return _check(TAGS, fields(envelope.get("tags"))) or _check(DATA[kind], fields(envelope["data"].get("baseData")))


def fields(value: Any) -> dict[str, Any]:
    """Return the fields of a JSON value, which has none unless it is an object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _check(kind: Type, value: Mapping[str, Any]) -> str:
    for name, field in kind.fields.items():
        given = value.get(name)
        if given is None or given == "":
            if field.required:
                return (
                    f"109: Field '{name}' on type '{kind.name}' is required but missing or empty. "
                    f"Expected: {field.kind}, Actual: undefined"
                )
        elif found := _check_value(f"Field '{name}' on type '{kind.name}'", field, given):
            return found
    return ""


def _check_value(where: str, field: Field, value: Any) -> str:
    match field.kind:
        case "text":
            right = isinstance(value, str)
            if right and len(value) > field.limit:
                return f"100: {where} is too long. Expected: {field.limit} characters, Actual: {len(value)}"
        case "time span":
            right = isinstance(value, str) and _TIME_SPAN.fullmatch(value)
        case "number":
            right = _is_number(value)
        case "flag":
            right = isinstance(value, bool)
        case "list":
            right = isinstance(value, list)
            if right and field.of is not None:
                elements = cast("list[Any]", value)
                return next((found for each in elements if (found := _check(field.of, fields(each)))), "")
        case _:
            right = isinstance(value, dict)
            if right and field.kind != "object":
                return _check_map(where, field.kind, value)
    return "" if right else f"{where} is not of the type {field.kind}"


def _check_map(where: str, kind: str, entries: Mapping[str, Any]) -> str:
    for name, value in entries.items():
        if len(name) > MAX_KEY:
            return f"100: the key '{name[:20]}…' of {where} is too long. Expected: {MAX_KEY} characters"
        if not (isinstance(value, str) if kind == "texts" else _is_number(value)):
            return f"the value of '{name}' in {where} is not of the type {kind.removesuffix('s')}"
        if kind == "texts" and len(value) > MAX_VALUE:
            return f"100: '{name}' of {where} is too long. Expected: {MAX_VALUE} characters, Actual: {len(value)}"
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_time(text: str, now: datetime) -> str:
    where = "Field 'time' on type 'Envelope'"
    try:
        sent = datetime.fromisoformat(text)
    except ValueError:
        return f"102: {where} is not a valid time string. Expected: date, Actual: {text}"
    age = round((now - sent.replace(tzinfo=sent.tzinfo or UTC)).total_seconds() * 1000)
    if age > OLDEST_MILLISECONDS:
        return (
            f"103: {where} is older than the allowed min date. Expected: now - {OLDEST_MILLISECONDS}ms, "
            f"Actual: now - {age}ms"
        )
    if -age > NEWEST_MILLISECONDS:
        return f"{where} is newer than the allowed max date. Expected: now + {NEWEST_MILLISECONDS}ms"
    return ""
