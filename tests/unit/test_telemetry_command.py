"""`./berth telemetry`: requests, traces, metrics and log records of envelopes that the stand-in has recorded."""

import argparse
import gzip
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

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


def metric(name: str, value: float, dimensions: Mapping[str, str], *, after: float = 0.0, **more: float) -> Json:
    point = {"name": name, "value": value, **more}
    return envelope("MetricData", {"metrics": [point], "properties": dimensions}, after=after)


def log(message: str, properties: Mapping[str, str], **more: Any) -> Json:
    return envelope("MessageData", {"message": message, "severityLevel": 1, "properties": properties}, **more)


ABOUT = {"tenant": "acme", "operation": "acme.1"}
ENVELOPES: list[Json] = [
    request("POST api/tenants", "r1", "202"),
    # Children may come before their parents: whatever ends first is sent first.
    call("apply statefulsets", "c2", {**ABOUT, "verb": "apply", "dependency": "kubernetes", "error": "Transient"},
         success=False, parent="c1", after=0.2),
    log("retry", {"logger_name": "shared.adapters.retry", "on_span": "False", **ABOUT, "cause": "a\nb"},
        parent="c2", after=0.25),
    call("apply_tenant", "c1", ABOUT, parent="r1", after=0.1),
    request("GET api/tenants/{slug}", "r2", "500", trace=OTHER, after=5),
    envelope("ExceptionData", {"exceptions": [{"typeName": "ValueError", "message": "no"}]}, trace=OTHER, after=5.1),
    metric("berth.queue.wait", 7.0, {"kind": "wake"}, count=2, min=3, max=4),
    metric("berth.queue.wait", 2.0, {"kind": "wake"}, count=1, min=2, max=2, after=60),
    metric("berth.operations.open", 5.0, {"kind": "wake"}, after=60),
    metric("berth.operations.open", 9.0, {"kind": "wake"}),
    metric("berth.sweeps", 1.0, {"state": "done"}),
    metric("berth.sweeps", 2.0, {"state": "done"}, after=60),
    metric("Item_Success_Count", 24.0, {"telemetryType": "TRACE"}),
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
        await run(recorded, *arguments)
        return capsys.readouterr().out

    return show


async def run(file: Path, *arguments: str) -> None:
    parser = argparse.ArgumentParser()
    parser.set_defaults(fail=parser.error)
    command.add_arguments(parser)
    assert await command.run(parser.parse_args([*arguments, "--file", str(file)])) == 0


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


async def test_a_metric_is_shown_as_its_instrument_says(shown: Any) -> None:
    rows = [line.split("  ") for line in (await shown("metrics")).splitlines()]
    header, *found = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert header == ["metric", "dimensions", "unit", "sum", "last", "count", "mean", "least", "most"]
    assert found == [
        ["berth.operations.open", "kind=wake", "operation", "5"],
        ["berth.queue.wait", "kind=wake", "s", "3", "3", "2", "4"],
        ["berth.sweeps", "state=done", "sweep", "3"],
    ]
    text = (await shown("metrics")).splitlines()
    assert text[1].index("5") < text[0].index(" count")
    assert text[3].index("3") < text[0].index(" last")


async def test_log_records_show_the_fields_that_matter(shown: Any) -> None:
    assert lines(await shown("logs"))[1:] == [
        f"12:00:00.250 information retry {TRACE[:8]} tenant=acme cause=a b operation=acme.1",
        f"12:00:05.100 exception ValueError: no {OTHER[:8]}",
    ]


async def test_log_records_fit_into_the_terminal(monkeypatch: pytest.MonkeyPatch, shown: Any) -> None:
    monkeypatch.setattr(command, "console", lambda: Console(width=72, soft_wrap=True, highlight=False))
    text = (await shown("logs")).splitlines()
    assert len(text) == 3
    assert {len(line) for line in text} == {72}
    assert text[1].rstrip().endswith("tenant=acme caus…")


async def test_json_has_only_what_was_asked_for(shown: Any) -> None:
    assert json.loads(await shown("logs", "--json")) == [ENVELOPES[2], ENVELOPES[5]]
    assert json.loads(await shown("--limit", "1", "--json")) == [ENVELOPES[4]]
    names = [each["data"]["baseData"]["metrics"][0]["name"] for each in json.loads(await shown("metrics", "--json"))]
    assert sorted(names) == sorted(["berth.queue.wait", "berth.operations.open", "berth.sweeps"] * 2)


@pytest.mark.parametrize("option", [("--tenant", "acme"), ("--operation", "acme.1"), ("--trace", "aa")])
async def test_only_what_was_asked_for_is_shown(shown: Any, option: tuple[str, str]) -> None:
    assert OTHER not in await shown(*option)
    assert json.loads(await shown("traces", *option, "--json")) == [ENVELOPES[each] for each in (0, 3, 1, 2)]


@pytest.mark.parametrize("what", ["requests", "traces", "logs"])
async def test_nothing_says_so(shown: Any, what: str) -> None:
    assert await shown(what, "--tenant", "nobody") == "nothing was sent that fits\n"


async def test_the_last_ones_are_shown(shown: Any) -> None:
    assert len(lines(await shown("--limit", "1"))) == 2
    assert lines(await shown("traces"))[0].startswith(f"trace {OTHER}")


def begun(trace: str, operation: str, tenant: str, *, after: float) -> list[Json]:
    """Return what a request that begins an operation sends at once."""
    about = {"tenant": tenant, "operation": operation}
    return [
        request("POST api/tenants", f"r{trace[0]}", "202", trace=trace, after=after),
        call("transact tenants", f"t{trace[0]}", {**about, "dependency": "tables"}, trace=trace, after=after + 0.1),
        call("create_orchestration:wake_tenant", f"o{trace[0]}", {}, trace=trace, after=after + 0.2),
    ]


CANCEL = [
    request("POST api/operations/{id}/cancel", "r9", "202", trace="9" * 32, after=60),
    call("transact tenants", "t9", {**ABOUT, "dependency": "tables"}, trace="9" * 32, after=60.1),
]
REFUSED = [
    request("POST api/tenants", "r8", "409", trace="8" * 32, after=70),
    call("get tenants", "t8", {**ABOUT, "operation": "acme.8", "dependency": "tables"}, trace="8" * 32, after=70.1),
]
ACTIVITY = call("apply_tenant", "a1", ABOUT, trace="1" * 32, after=61)
ENDED = call("operation", "e1", {**ABOUT, "kind": "wake"}, trace="1" * 32)
LATER = [*begun("2" * 32, "acme.2", "acme", after=30), *begun("3" * 32, "beta.1", "beta", after=40)]


@pytest.mark.parametrize("more", [[], [ACTIVITY], [ACTIVITY, ENDED]], ids=["begun", "running", "ended"])
@pytest.mark.parametrize(
    ("option", "trace"),
    [(("--operation", "acme.1"), "1" * 32), (("--tenant", "acme"), "2" * 32), (("--tenant", "beta"), "3" * 32)],
)
async def test_the_trace_of_an_operation_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[Json], option: tuple[str, str], trace: str
) -> None:
    file = tmp_path / "envelopes"
    Store(keep=1, record=file).add([*CANCEL, *REFUSED, *LATER, *begun("1" * 32, "acme.1", "acme", after=0), *more])
    await run(file, "traces", *option)
    assert re.findall("^trace (\\w+)", capsys.readouterr().out, re.MULTILINE) == [trace]


async def test_what_began_no_operation_is_shown_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "envelopes"
    Store(keep=1, record=file).add(REFUSED)
    await run(file, "traces", "--tenant", "acme")
    assert lines(capsys.readouterr().out)[0].startswith(f"trace {'8' * 32}")


async def test_a_compressed_recording_is_read(
    tmp_path: Path, recorded: Path, shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recording").write_bytes(gzip.compress(recorded.read_bytes()))
    await run(tmp_path / "recording", "logs")
    assert capsys.readouterr().out == await shown("logs")


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff", b"\x1f\x8b", b"\x1f\x8b\x08" + b"0" * 20])
async def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(TargetError, match="no recording of telemetry"):
        await run(tmp_path / "file")


def test_a_file_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="missing cannot be read: No such file or directory"):
        main(["telemetry", "--file", str(tmp_path / "missing")])


@pytest.mark.parametrize("limit", ["0", "-3", "some"])
def test_a_limit_is_at_least_one(capsys: pytest.CaptureFixture[str], limit: str) -> None:
    with pytest.raises(SystemExit):
        main(["telemetry", "--limit", limit])
    assert "argument --limit: " in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--limit", "--tenant", "--operation", "--trace"])
async def test_metrics_take_no_option_that_chooses(shown: Any, capsys: pytest.CaptureFixture[str], option: str) -> None:
    with pytest.raises(SystemExit):
        await shown("metrics", option, "1")
    assert "all metrics are shown" in capsys.readouterr().err


def test_another_berth_has_its_telemetry_on_azure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERTH_URL", "https://berth.example.com")
    with pytest.raises(TargetError, match=r"Application Insights, and docs/monitoring\.md"):
        main(["telemetry"])
