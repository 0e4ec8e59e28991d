"""The real exporter against the stand-in: what it sends, what it sends again, and what it drops."""

import asyncio
import gzip
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from local.telemetry.endpoint import STATISTICS_KEY
from local.telemetry.process import Telemetry

ROOT = Path(__file__).parents[3]
ALONE = {"APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true", "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true"}


class Exporting:
    """The exporter with a directory for what it could not send."""

    def __init__(self, telemetry: Telemetry, directory: Path, **options: Any) -> None:
        self.telemetry = telemetry
        self.directory = directory
        self.exporter = AzureMonitorTraceExporter(
            connection_string=telemetry.settings["APPLICATIONINSIGHTS_CONNECTION_STRING"],
            storage_directory=str(directory),
            tracer_provider=TracerProvider(),
            **{"retry_backoff_factor": 0.0, **options},
        )

    async def faults(self, *faults: dict[str, Any]) -> None:
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{self.telemetry.url}/faults", json=faults)).raise_for_status()

    async def export(self, spans: list[ReadableSpan]) -> SpanExportResult:
        return await asyncio.to_thread(self.exporter.export, spans)

    async def arrived(self, spans: list[ReadableSpan]) -> list[str]:
        """The names of those spans that the stand-in has accepted, as often as it did."""
        trace = f"{spans[0].context.trace_id:032x}"  # pyright: ignore[reportOptionalMemberAccess]
        found = await self.telemetry.envelopes(trace=trace)
        return [each["data"]["baseData"]["name"] for each in found]

    def stored(self) -> list[Path]:
        return list(self.directory.iterdir())

    def stored_names(self) -> list[str]:
        """The names of the spans that are kept on disk."""
        items = [json.loads(line) for file in self.stored() for line in file.read_text().splitlines()]
        return [each["data"]["baseData"]["name"] for each in items if each["data"]["baseType"] != "MetricData"]


@pytest.fixture(autouse=True)
def without_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def exporting(telemetry: Telemetry, tmp_path: Path) -> AsyncIterator[Exporting]:
    held = Exporting(telemetry, tmp_path)
    yield held
    held.exporter.shutdown()
    await held.faults()


@pytest.fixture
def spans() -> Iterator[list[ReadableSpan]]:
    """A request with a dependency, of one trace."""
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("tests")
    with (
        tracer.start_as_current_span("request", kind=SpanKind.SERVER),
        tracer.start_as_current_span("call", kind=SpanKind.CLIENT, attributes={"berth.tenant": "acme"}),
    ):
        pass
    yield list(kept.get_finished_spans())
    provider.shutdown()


async def test_what_the_exporter_sends_is_taken(exporting: Exporting, spans: list[ReadableSpan]) -> None:
    assert await exporting.export(spans) is SpanExportResult.SUCCESS
    assert await exporting.arrived(spans) == ["call", "request"]


@pytest.mark.parametrize("status", [500, 503])
async def test_a_passing_failure_is_sent_again(exporting: Exporting, spans: list[ReadableSpan], status: int) -> None:
    await exporting.faults({"status": status})
    assert await exporting.export(spans) is SpanExportResult.SUCCESS
    assert await exporting.arrived(spans) == ["call", "request"]


async def test_the_exporter_waits_as_long_as_it_is_told(exporting: Exporting, spans: list[ReadableSpan]) -> None:
    await exporting.faults({"status": 429, "retry_after": "1"})
    began = time.monotonic()
    assert await exporting.export(spans) is SpanExportResult.SUCCESS
    assert time.monotonic() - began >= 1
    assert await exporting.arrived(spans) == ["call", "request"]


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502, 503, 504])
async def test_what_fails_for_long_is_kept_on_disk(
    exporting: Exporting, spans: list[ReadableSpan], status: int
) -> None:
    await exporting.faults({"status": status, "times": 20})
    assert await exporting.export(spans) is SpanExportResult.FAILURE
    assert exporting.stored_names() == ["call", "request"]
    [kept] = exporting.stored()
    kept.rename(kept.with_name(kept.name.rpartition("@")[0]))  # as if its minute of rest were over
    await exporting.faults()
    assert await exporting.export(spans[:1]) is SpanExportResult.SUCCESS  # which is when it looks for what it kept
    assert await exporting.arrived(spans) == ["call", "call", "request"]
    assert not exporting.stored()


@pytest.mark.parametrize("status", [400, 402, 404, 439])
async def test_what_is_refused_for_good_is_dropped(
    exporting: Exporting, spans: list[ReadableSpan], status: int
) -> None:
    await exporting.faults({"status": status})
    assert await exporting.export(spans) is SpanExportResult.FAILURE
    assert not exporting.stored()
    assert await exporting.arrived(spans) == []


async def test_of_a_partial_success_the_rest_is_kept(exporting: Exporting, spans: list[ReadableSpan]) -> None:
    await exporting.faults({"status": 500, "items": [2]})  # the first item describes the resource
    assert await exporting.export(spans) is SpanExportResult.FAILURE
    assert await exporting.arrived(spans) == ["call"]
    assert exporting.stored_names() == ["request"]


async def test_a_partial_refusal_for_good_is_dropped(exporting: Exporting, spans: list[ReadableSpan]) -> None:
    await exporting.faults({"status": 400, "items": [2]})
    assert await exporting.export(spans) is SpanExportResult.FAILURE
    assert await exporting.arrived(spans) == ["call"]
    assert not exporting.stored()


async def test_another_key_is_refused(telemetry: Telemetry, spans: list[ReadableSpan], tmp_path: Path) -> None:
    wrong = Exporting(Telemetry(telemetry.port, "00000000-0000-0000-0000-000000000000"), tmp_path)
    assert await wrong.export(spans) is SpanExportResult.FAILURE
    assert await wrong.arrived(spans) == []
    wrong.exporter.shutdown()


async def test_a_redirect_is_followed(exporting: Exporting, spans: list[ReadableSpan]) -> None:
    await exporting.faults({"status": 308, "location": f"{exporting.telemetry.url}/v2.1/track"})
    assert await exporting.export(spans) is SpanExportResult.SUCCESS
    assert await exporting.arrived(spans) == ["call", "request"]


async def test_no_response_is_a_failure_to_keep(
    telemetry: Telemetry, spans: list[ReadableSpan], tmp_path: Path
) -> None:
    hasty = Exporting(telemetry, tmp_path, read_timeout=0.2, retry_total=0)
    await hasty.faults({"status": 0})
    assert await hasty.export(spans) is SpanExportResult.FAILURE
    assert len(hasty.stored()) == 1
    hasty.exporter.shutdown()


async def test_the_end_of_a_process_sends_what_is_left(telemetry: Telemetry, exporting: Exporting) -> None:
    await exporting.faults({"status": 429, "retry_after": "1"})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        ENDING,
        str(exporting.directory),
        stdout=asyncio.subprocess.PIPE,
        env=environment(telemetry),
    )
    output, _ = await process.communicate()
    found = await telemetry.envelopes(trace=output.decode().strip())
    assert [each["data"]["baseData"]["name"] for each in found] == ["last"]


def environment(telemetry: Telemetry) -> dict[str, str]:
    return {**telemetry.settings, **ALONE, "OTEL_BSP_SCHEDULE_DELAY": "60000"}


ENDING = """
import sys
from azure.monitor.opentelemetry.exporter import AzureMonitorTraceExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
exporter = AzureMonitorTraceExporter(storage_directory=sys.argv[1], tracer_provider=provider)
provider.add_span_processor(BatchSpanProcessor(exporter))
with provider.get_tracer("tests").start_as_current_span("last") as span:
    print(f"{span.get_span_context().trace_id:032x}")
"""


async def test_a_silent_endpoint_does_not_hold_a_worker_up(telemetry: Telemetry, exporting: Exporting) -> None:
    await exporting.faults({"status": 0, "times": 20})
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        UNHEARD,
        env={**environment(telemetry), "PYTHONPATH": str(ROOT), "TMPDIR": str(exporting.directory)},
    )
    try:
        assert await asyncio.wait_for(process.wait(), MOST_SECONDS) == 0
    finally:
        if process.returncode is None:
            process.kill()
    kept = "".join(each.read_text() for each in exporting.directory.rglob("*.blob*"))
    assert all(name in kept for name in ("one span", "one event", "berth.sweeps"))


UNHEARD = """
import logging
from shared.adapters.telemetry import azure_monitor
from shared.events import log_event
from shared.telemetry import metrics, spans
azure_monitor.RESPONSE_SECONDS = 0.2
azure_monitor.start_telemetry()
metrics.record(metrics.SWEEPS, state="done")
log_event(logging.getLogger("shared"), "one event", level=logging.WARNING)
with spans.work("one span"):
    pass
"""
MOST_SECONDS = 30.0  # as long as the library alone waits for each of three exporters


async def test_bodies_may_be_compressed_or_lines(telemetry: Telemetry, exporting: Exporting) -> None:
    item = {"iKey": STATISTICS_KEY}
    lines = "\n".join(json.dumps(item) for _ in range(2)).encode()
    async with httpx.AsyncClient(base_url=telemetry.url, trust_env=False) as http:
        packed = await http.post("/v2/track", content=gzip.compress(lines), headers={"Content-Encoding": "gzip"})
        broken = await http.post("/v2/track", content=b"{", headers={"Content-Encoding": "gzip"})
        empty = await http.post("/v2/track", json=[{}])
        state = (await http.get("/state")).json()
    assert packed.json() == {"itemsReceived": 2, "itemsAccepted": 2, "errors": []}
    assert (broken.status_code, empty.status_code) == (400, 400)
    assert empty.json()["errors"][0]["index"] == 0
    assert state["calls"]["statistics"]


async def test_calls_that_the_app_switches_off_are_seen(telemetry: Telemetry) -> None:
    async with httpx.AsyncClient(base_url=telemetry.url, trust_env=False) as http:
        before = (await http.get("/state")).json()["calls"]
        await http.post("/QuickPulseService.svc/ping")
        await http.get("/settings")
        after = (await http.get("/state")).json()["calls"]
    assert after["live metrics"] == before.get("live metrics", 0) + 1
    assert after["GET /settings"] == before.get("GET /settings", 0) + 1
