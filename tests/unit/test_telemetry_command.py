"""`./berth telemetry`: requests, traces, metrics and log records of envelopes that the stand-in has recorded."""

import argparse
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.__main__ import main
from cli.api import Json
from cli.running import TargetError
from cli.telemetry import run as command
from local.telemetry.schema import fault
from local.telemetry.store import Store

KEY = "11111111-2222-3333-4444-555555555555"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRACE, OTHER = "a" * 32, "b" * 32


def envelope(kind: str, data: Json, *, trace: str = TRACE, parent: str = "", after: float = 0.0) -> Json:
    made = {
        "name": f"Microsoft.ApplicationInsights.{kind}",
        "time": (START + timedelta(seconds=after)).isoformat(),
        "iKey": KEY,
        "tags": {"ai.cloud.role": "berth", "ai.operation.id": trace, "ai.operation.parentId": parent},
        "data": {"baseType": kind, "baseData": {"ver": 2, **data}},
    }
    assert not fault(made, KEY, START)
    return made


def request(name: str, span: str, code: str = "200", **more: Any) -> Json:
    data = {"id": span, "name": name, "duration": "0.00:00:01.500", "responseCode": code, "success": code < "500"}
    return envelope("RequestData", data, **more)


def call(name: str, span: str, properties: Mapping[str, str], *, success: bool = True, **more: Any) -> Json:
    data = {"id": span, "name": name, "duration": "0.00:00:00.012", "success": success, "properties": properties}
    return envelope("RemoteDependencyData", data, **more)


def metric(value: float, dimensions: Mapping[str, str], **more: float) -> Json:
    point = {"name": "berth.queue.wait", "value": value, **more}
    return envelope("MetricData", {"metrics": [point], "properties": dimensions})


ABOUT = {"tenant": "acme", "operation": "acme.1"}
ENVELOPES: list[Json] = [
    request("POST api/tenants", "r1", "202"),
    # Children may come before their parents: whatever ends first is sent first.
    call("apply statefulsets", "c2", {**ABOUT, "verb": "apply", "dependency": "kubernetes", "error": "Transient"},
         success=False, parent="c1", after=0.2),
    envelope("MessageData", {"message": "retry", "severityLevel": 1, "properties": ABOUT}, parent="c2", after=0.25),
    call("apply_tenant", "c1", ABOUT, parent="r1", after=0.1),
    request("GET api/tenants/{slug}", "r2", "500", trace=OTHER, after=5),
    envelope("ExceptionData", {"exceptions": [{"typeName": "ValueError", "message": "no"}]}, trace=OTHER, after=5.1),
    metric(1.0, {"kind": "wake"}),
    metric(7.0, {"kind": "wake"}, count=2, min=3, max=4),
    metric(2.0, {"kind": "provision"}),
    metric(0.0, {}),
]  # fmt: skip


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("telemetry") / "envelopes"
    store = Store(keep=1, record=file)
    store.add(ENVELOPES[:4])
    store.add(ENVELOPES[4:])
    assert store.find(kind="", trace="", after=0, limit=9) == (len(ENVELOPES), ENVELOPES[-1:])
    return file


@pytest.fixture
def shown(recorded: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    async def show(*arguments: str) -> str:
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        assert await command.run(parser.parse_args([*arguments, "--file", str(recorded)])) == 0
        return capsys.readouterr().out

    return show


def lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


async def test_requests_have_the_tenant_of_their_trace(shown: Any) -> None:
    assert lines(await shown()) == [
        "time request result duration tenant trace",
        f"12:00:00.000 POST api/tenants 202 1.50 s acme {TRACE}",
        f"12:00:05.000 GET api/tenants/{{slug}} 500 failed 1.50 s {OTHER}",
    ]


async def test_a_trace_is_a_tree_that_repeats_nothing(shown: Any) -> None:
    assert lines(await shown("traces", "--trace", "aaaa")) == [
        f"trace {TRACE}, 2026-03-01T12:00:00Z",
        "└── +0.000 s POST api/tenants 1.50 s 202",
        "└── +0.100 s apply_tenant 12 ms tenant=acme operation=acme.1",
        "└── +0.200 s apply statefulsets 12 ms failed dependency=kubernetes error=Transient",
        "└── +0.250 s information: retry",
    ]


async def test_metrics_have_their_last_value(shown: Any) -> None:
    assert lines(await shown("metrics")) == [
        "metric dimensions from last value of least most",
        "berth.queue.wait berth 0",
        "berth.queue.wait kind=provision berth 2",
        "berth.queue.wait kind=wake berth 7 2 3 4",
    ]


async def test_log_records_and_exceptions_are_shown(shown: Any) -> None:
    assert lines(await shown("logs"))[1:] == [
        f"12:00:00.250 information retry operation=acme.1 tenant=acme {TRACE}",
        f"12:00:05.100 exception ValueError: no {OTHER}",
    ]


@pytest.mark.parametrize("option", [("--tenant", "acme"), ("--operation", "acme.1"), ("--trace", "aa")])
async def test_only_what_was_asked_for_is_shown(shown: Any, option: tuple[str, str]) -> None:
    assert OTHER not in await shown(*option)
    assert json.loads(await shown(*option, "--json")) == [
        each for each in ENVELOPES if each["tags"]["ai.operation.id"] == TRACE
    ]


@pytest.mark.parametrize("what", ["requests", "traces", "logs"])
async def test_nothing_says_so(shown: Any, what: str) -> None:
    assert await shown(what, "--tenant", "nobody") == "nothing was sent that fits\n"


async def test_the_last_ones_are_shown(shown: Any) -> None:
    assert len(lines(await shown("--limit", "1"))) == 2
    assert lines(await shown("traces"))[0].startswith(f"trace {OTHER}")


def test_another_berth_has_its_telemetry_on_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_URL", "https://berth.example.com")
    with pytest.raises(TargetError, match="Application Insights"):
        main(["telemetry"])
