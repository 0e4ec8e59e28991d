"""What the benchmark of telemetry counts."""

from datetime import UTC, datetime
from typing import Any

from shared.adapters.prices import load_prices
from tests.bench import telemetry
from tests.bench.telemetry_volume import METRICS, MONTH, Volume, actions, dollars, month, series


def envelope(base_type: str, trace: str = "t", time: str = "2026-01-01T00:00:00Z", **data: Any) -> dict[str, Any]:
    tags = {"ai.operation.id": trace, "ai.cloud.roleInstance": "one"}
    return {"name": "x", "time": time, "tags": tags, "data": {"baseType": base_type, "baseData": {"ver": 2, **data}}}


def request(name: str, **more: str) -> dict[str, Any]:
    return envelope("RequestData", name=name, id="1", duration="0.00:00:01", success=True, responseCode="200", **more)


def metric(name: str, value: float, **properties: str) -> dict[str, Any]:
    return envelope("MetricData", metrics=[{"name": name, "value": value}], properties=properties)


def test_a_row_costs_its_columns_and_not_its_json() -> None:
    one = Volume.of([envelope("MessageData", message="state changed", properties={"tenant": "acme"})])
    more = Volume.of([envelope("MessageData", message="state changed!!", properties={"tenant": "acme"})])
    assert one.rows == 1
    assert more.billed - one.billed == more.sent - one.sent == 2
    assert len("state changed") + len('{"tenant":"acme"}') < one.billed < 400


def test_the_name_of_the_table_is_free() -> None:
    trace = Volume.of([envelope("MessageData", message="x")])
    event = Volume.of([envelope("EventData", name="x")])
    assert trace.billed == event.billed


def test_a_trace_is_named_by_its_operation_or_first_request() -> None:
    operation = envelope(
        "RemoteDependencyData", "a", name="operation", id="2", duration="0.00:00:01", success=True,
        properties={"kind": "wake"},
    )  # fmt: skip
    found = actions([
        request("POST api/tenants/{slug}/wake", trace="a"), operation,
        request("activity:x", trace="b", time="2026-01-01T00:00:02Z"), request("recover", trace="b"),
        metric("berth.tenants", 1),
    ])  # fmt: skip
    assert {name: [len(each) for each in traces] for name, traces in found.items()} == {"wake": [2], "recover": [2]}


def test_a_series_counts_once_whatever_its_value() -> None:
    sent = [metric("berth.tenants", 1, plan="a"), metric("berth.tenants", 2, plan="a"), metric("berth.tenants", 1)]
    assert len(series([*sent, request("recover")])) == 2


def test_a_month_is_the_sum_of_its_actions() -> None:
    nothing = {each.action: Volume() for each in MONTH}
    assert month(nothing) == Volume()
    [idle] = [each.times for each in MONTH if each.action == METRICS]
    assert month({**nothing, METRICS: Volume(1, 2, 3)}) == Volume(idle, 2 * idle, 3 * idle)


def test_a_gigabyte_costs_what_the_prices_say() -> None:
    price = load_prices().book.at(telemetry.LOGS, "westeurope", datetime.now(UTC))
    assert dollars(Volume(billed=1e9), price) == price.amount


def test_both_goals_can_be_missed() -> None:
    cheap, dear = ({each.action: Volume(billed=size) for each in MONTH} for size in (10.0, 10_000.0))
    assert [each.met for each in telemetry.goals(cheap, [(1.02, 1.0)] * 3)] == [True, True]
    assert [each.met for each in telemetry.goals(dear, [(1.05, 1.0)] * 3)] == [False, False]
    assert telemetry.goals({}, []) == []
