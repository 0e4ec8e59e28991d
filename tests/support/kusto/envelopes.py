"""Rows of a workspace from envelopes: the JSON that an exporter sends to Application Insights.

As Microsoft documents it for the tables and for the endpoint: `baseType` names the table, tags become columns, and all
custom fields are in Properties, as texts.
"""

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

type Envelope = dict[str, Any]
type Row = dict[str, Any]
type Rows = dict[str, list[Row]]

RECORDING = Path(__file__).with_name("recording.jsonl.gz")
"""What a demo has sent: `./berth demo --tenants 6 --telemetry tests/support/kusto/recording.jsonl.gz` makes it anew."""

_TAGS = {
    "ai.operation.id": "OperationId",
    "ai.operation.name": "OperationName",
    "ai.operation.parentId": "ParentId",
    "ai.cloud.role": "AppRoleName",
    "ai.cloud.roleInstance": "AppRoleInstance",
    "ai.application.ver": "AppVersion",
    "ai.internal.sdkVersion": "SDKVersion",
    "ai.operation.syntheticSource": "SyntheticSource",
    "ai.user.id": "UserId",
    "ai.session.id": "SessionId",
}
_SEVERITIES = ("Verbose", "Information", "Warning", "Error", "Critical")
_DURATION = re.compile(r"(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)")


def recorded_envelopes(path: Path = RECORDING) -> list[Envelope]:
    """Return the envelopes of a recording."""
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def to_rows(envelopes: Iterable[Envelope]) -> Rows:
    """Return the rows that envelopes become, by table."""
    rows: Rows = {}
    for envelope in envelopes:
        data = envelope["data"]["baseData"]
        table, own = _own_columns(envelope["data"]["baseType"], data)
        tags: Mapping[str, str] = envelope.get("tags") or {}
        properties: Mapping[str, Any] = data.get("properties") or {}
        row: Row = {
            "TimeGenerated": envelope["time"],
            "Type": table,
            "IKey": envelope.get("iKey"),
            "ItemCount": round(100 / (envelope.get("sampleRate") or 100)),
            "Properties": {name: str(value) for name, value in properties.items()},
            **{column: tags[tag] for tag, column in _TAGS.items() if tag in tags},
            **own,
        }
        rows.setdefault(table, []).append(row)
    return rows


def _own_columns(base_type: str, data: dict[str, Any]) -> tuple[str, Row]:
    match base_type:
        case "RequestData":
            return "AppRequests", {
                **_timed(data),
                "ResultCode": data["responseCode"],
                "Url": data.get("url"),
                "Source": data.get("source"),
            }
        case "RemoteDependencyData":
            return "AppDependencies", {
                **_timed(data),
                "ResultCode": data.get("resultCode"),
                "Data": data.get("data"),
                "Target": data.get("target"),
                "DependencyType": data.get("type"),
            }
        case "MessageData":
            return "AppTraces", {"Message": data["message"], "SeverityLevel": _severity(data)}
        case "ExceptionData":
            outer, inner = data["exceptions"][0], data["exceptions"][-1]
            return "AppExceptions", {
                "SeverityLevel": _severity(data),
                "ExceptionType": outer.get("typeName"),
                "OuterType": outer.get("typeName"),
                "OuterMessage": outer.get("message"),
                "InnermostType": inner.get("typeName"),
                "InnermostMessage": inner.get("message"),
                "Details": data["exceptions"],
            }
        case "MetricData":
            (point,) = data["metrics"]
            return "AppMetrics", {
                "Name": point["name"],
                "Sum": point["value"],
                "Min": point.get("min"),
                "Max": point.get("max"),
                "ItemCount": point.get("count") or 1,
            }
        case "EventData":
            return "AppEvents", {"Name": data["name"]}
        case other:
            raise ValueError(f"no table is known for {other}")


def _timed(data: dict[str, Any]) -> Row:
    found = _DURATION.fullmatch(data["duration"])
    assert found, data["duration"]
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    duration = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    return {
        "Id": data["id"],
        "Name": data["name"],
        "Success": data["success"],
        "DurationMs": duration / timedelta(milliseconds=1),
    }


def _severity(data: dict[str, Any]) -> int | None:
    level = data.get("severityLevel")
    return _SEVERITIES.index(level) if level in _SEVERITIES else level
