"""Which telemetry items the stand-in refuses, and what it says."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.telemetry.schema import fault

KEY = "11111111-2222-3333-4444-555555555555"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
REQUEST: dict[str, Any] = {
    "ver": 1,
    "name": "Microsoft.ApplicationInsights.Request",
    "time": NOW.isoformat(),
    "iKey": KEY,
    "tags": {"ai.cloud.role": "berth", "ai.user.userAgent": "curl"},
    "data": {
        "baseType": "RequestData",
        "baseData": {
            "ver": 2,
            "id": "00f067aa0ba902b7",
            "name": "GET api/tenants",
            "duration": "0.00:00:00.012",
            "responseCode": "200",
            "success": False,
            "properties": {"berth.tenant": "acme"},
            "measurements": {"retries": 1},
        },
    },
}


def with_value(path: str, value: object) -> dict[str, Any]:
    """The request with another value at a path, whose parts are parted by slashes."""
    item: Any = deepcopy(REQUEST)
    *parents, last = path.split("/")
    inner = item
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return item


def test_a_right_item_is_taken() -> None:
    assert not fault(REQUEST, KEY, NOW)


BASE = "data/baseData"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("time", "", "109: Field 'time' on type 'Envelope' is required but missing or empty."),
        ("time", "soon", "102: Field 'time' on type 'Envelope' is not a valid time string."),
        (
            "time",
            (NOW - timedelta(days=3)).isoformat(),
            "103: Field 'time' on type 'Envelope' is older than the allowed min date. Expected: now - 172800000ms",
        ),
        ("time", (NOW + timedelta(hours=3)).isoformat(), "newer than the allowed max date"),
        ("iKey", KEY.replace("1", "2"), "Invalid instrumentation key"),
        ("data/baseType", "Request", "the baseType 'Request' is not known"),
        (
            "tags/ai.operation.name",
            "x" * 1025,
            "100: Field 'ai.operation.name' on type 'ContextTagKeys' is too long. Expected: 1024 characters, "
            "Actual: 1025",
        ),
        (f"{BASE}/duration", "12 ms", "Field 'duration' on type 'RequestData' is not of the type time span"),
        (f"{BASE}/success", "yes", "Field 'success' on type 'RequestData' is not of the type flag"),
        (f"{BASE}/success", None, "109: Field 'success' on type 'RequestData' is required"),
        (f"{BASE}/properties/number", 1, "the value of 'number' in Field 'properties'"),
        (f"{BASE}/properties/{'k' * 151}", "", "100: the key 'kkkk"),
        (f"{BASE}/properties/long", "x" * 8193, "100: 'long' of Field 'properties'"),
        (f"{BASE}/measurements/count", "1", "the value of 'count' in Field 'measurements'"),
    ],
)
def test_a_wrong_item_is_refused(path: str, value: object, message: str) -> None:
    assert message in fault(with_value(path, value), KEY, NOW)


def test_elements_of_a_list_are_checked() -> None:
    def metric(**point: object) -> dict[str, Any]:
        data = {"baseType": "MetricData", "baseData": {"ver": 2, "metrics": [point]}}
        return {**REQUEST, "data": data}

    assert "Field 'value' on type 'DataPoint' is required" in fault(metric(name="queued"), KEY, NOW)
    assert not fault(metric(name="queued", value=0), KEY, NOW)


@pytest.mark.parametrize("item", [None, [], "text", {}])
def test_what_is_no_item_is_refused(item: object) -> None:
    assert fault(item, KEY, NOW)
