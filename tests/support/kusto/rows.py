"""Rows of a workspace for a test, which only says what is of interest. What berth does not emit is refused."""

from datetime import datetime
from itertools import count

from shared.telemetry.recorder import Instrument, Metric
from tests.support.kusto.emitted import COUNTS, METRICS, OTHER_SPANS, SPANS, fields_of_event
from tests.support.kusto.envelopes import Row, Rows

_ids = count(1)
_TABLES = {"Message": "AppTraces", "Sum": "AppMetrics", "Url": "AppRequests"}


def metric(
    of: Metric, at: datetime, value: float, *, number: int = 1, highest: float | None = None, **dimensions: str
) -> Row:
    """Return a row of AppMetrics: what `number` measurements make together, of which one may be the highest.

    Only a histogram has a lowest and a highest one: of a counter and a gauge the exporter sends the value alone.
    """
    assert METRICS[of.name] == dimensions.keys(), (of.name, dimensions)
    is_histogram = of.instrument is Instrument.HISTOGRAM
    assert is_histogram or highest is None
    return {
        "TimeGenerated": at,
        "Name": of.name,
        "Sum": value,
        "Min": 0.0 if is_histogram else None,
        "Max": (value if highest is None else highest) if is_histogram else None,
        "ItemCount": number,
        "Properties": dimensions,
    }


def span(name: str, at: datetime, seconds: float, *, number: int = 1, **attributes: str | float) -> Row:
    """Return a row of AppDependencies, which stands for `number` spans."""
    unknown = attributes.keys() - SPANS.get(name, OTHER_SPANS)
    assert not unknown, (name, unknown)
    return {
        "TimeGenerated": at,
        "Name": name,
        "DurationMs": 1000 * seconds,
        "ItemCount": number,
        "Success": "error" not in attributes,
        "Id": f"{next(_ids):016x}",
        "OperationId": str(attributes.get("operation", "")),
        "Properties": {key: str(value) for key, value in attributes.items()},
    }


def request(at: datetime, milliseconds: float, app_instance: str) -> Row:
    """Return a row of AppRequests, as the Functions host sends it."""
    return {
        "TimeGenerated": at,
        "Name": "list_tenants",
        "DurationMs": milliseconds,
        "ItemCount": 1,
        "Url": "https://berth.example/api/tenants",
        "AppRoleInstance": app_instance,
    }


def event(message: str, at: datetime, *, level: int = 1, **fields: str) -> Row:
    """Return a row of AppTraces."""
    unknown = fields.keys() - fields_of_event(message) - COUNTS
    assert not unknown, (message, unknown)
    return {
        "TimeGenerated": at,
        "Message": message,
        "SeverityLevel": level,
        "ItemCount": 1,
        "Properties": fields,
        "OperationId": fields.get("operation", ""),
    }


def workspace_of(*rows: Row) -> Rows:
    """Return rows by the table that they belong to."""
    tables: Rows = {}
    for row in rows:
        table = next((table for column, table in _TABLES.items() if column in row), "AppDependencies")
        tables.setdefault(table, []).append(row)
    return tables
