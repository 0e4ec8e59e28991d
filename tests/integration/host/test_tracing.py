"""One trace from a request to each activity, whoever dies meanwhile; and the spans that the host sends of it."""

from collections.abc import AsyncIterator
from secrets import token_hex
from typing import Any

import pytest

from local.ports import Ports
from local.processes import Processes
from local.telemetry.process import Telemetry
from tests.integration.host.hosts import KEYS, Host, sample_host
from tests.support.polling import until

CALLER = "00f067aa0ba902b7"


@pytest.fixture(scope="module")
async def host(processes: Processes, ports: Ports, telemetry: Telemetry) -> AsyncIterator[Host]:
    settings = {**telemetry.settings, "OTEL_BSP_SCHEDULE_DELAY": "50", "TMPDIR": str(processes.directory)}
    async with sample_host(processes, ports, "traced", workers=1, settings=settings) as held:
        yield held


@pytest.fixture
def caller() -> dict[str, str]:
    """The headers of a request within a new trace."""
    return {"traceparent": f"00-{token_hex(16)}-{CALLER}-01"}


def trace_of(traceparent: str) -> str:
    return traceparent.split("-")[1]


async def spans(telemetry: Telemetry, trace: str, last: str) -> dict[str, Any]:
    """The envelopes of a trace by the ids of their spans, once there is one of that name."""

    async def arrived() -> bool:
        return any(each["data"]["baseData"]["name"] == last for each in await telemetry.envelopes(trace=trace))

    await until(arrived)
    return {each["data"]["baseData"]["id"]: each for each in await telemetry.envelopes(trace=trace)}


async def test_a_request_goes_on_its_callers_trace(host: Host, telemetry: Telemetry, caller: dict[str, str]) -> None:
    response = await host.http.get("v1/trace/one?code=secret", headers=caller)
    trace, span = response.text.split("-")[1:3]
    assert trace == trace_of(caller["traceparent"])
    envelope = (await spans(telemetry, trace, "GET v1/trace/{id}"))[span]
    data, tags = envelope["data"], envelope["tags"]
    assert data["baseType"] == "RequestData"
    assert (data["baseData"]["responseCode"], data["baseData"]["success"]) == ("200", True)
    assert data["baseData"]["properties"].items() >= {"faas.name": "trace", "faas.trigger": "http"}.items()
    assert (tags["ai.operation.parentId"], tags["ai.cloud.role"]) == (CALLER, "functions-host")
    assert "secret" not in str(envelope)


async def test_a_failed_request_has_failed(host: Host, telemetry: Telemetry, caller: dict[str, str]) -> None:
    await host.http.get("v1/broken", headers=caller)
    [envelope] = (await spans(telemetry, trace_of(caller["traceparent"]), "GET v1/broken")).values()
    data = envelope["data"]["baseData"]
    assert (data["responseCode"], data["success"]) == ("500", False)


async def test_who_is_not_to_be_sampled_is_not(host: Host, telemetry: Telemetry, caller: dict[str, str]) -> None:
    silent = f"{caller['traceparent'].removesuffix('01')}00"
    assert (await host.http.get("v1/trace/silent", headers={"traceparent": silent})).text.endswith("-00")
    later = {"traceparent": f"00-{token_hex(16)}-{CALLER}-01"}
    await host.http.get("v1/trace/later", headers=later)
    await spans(telemetry, trace_of(later["traceparent"]), "GET v1/trace/{id}")
    assert not await telemetry.envelopes(trace=trace_of(silent))


async def test_a_timer_is_a_trace(host: Host, telemetry: Telemetry) -> None:
    await host.http.post("admin/functions/tick", json={}, headers={"x-functions-key": KEYS["master"]})

    def noted() -> list[str]:
        return [each.split()[-1] for each in host.notes.read_text().splitlines() if each.startswith("traced tick ")]

    async def ran() -> bool:
        return bool(noted())

    await until(ran)
    trace, span = noted()[0].split("-")[1:3]
    assert (await spans(telemetry, trace, "tick"))[span]["data"]["baseType"] == "RequestData"


async def test_an_orchestration_is_one_trace(host: Host, telemetry: Telemetry, caller: dict[str, str]) -> None:
    text, trace = token_hex(4), trace_of(caller["traceparent"])
    instance = token_hex(6)
    (await host.http.post(f"v1/start/tracing/{instance}", content=text, headers=caller)).raise_for_status()
    assert (await host.result(instance)).startswith("COMPLETED")
    noted = [each.split()[1:] for each in host.notes.read_text().splitlines() if each.startswith(f"traced {text}")]
    # Twice before each death of a worker, once more after it, and once below.
    assert [each for each, _ in noted] == [text] * 3 + [f"{text}-again"] * 3
    assert {trace_of(parent) for _, parent in noted} == {trace}

    found = await spans(telemetry, trace, "orchestration:tracing")
    names = {span: each["data"]["baseData"]["name"] for span, each in found.items()}
    tree = sorted((names[span], names.get(each["tags"]["ai.operation.parentId"], "")) for span, each in found.items())
    twice = [
        ("activity:fail", "activity:fail"),
        ("activity:fail", "orchestration:traced_below"),
        ("activity:traced", "activity:traced"),  # killed
        ("activity:traced", "activity:traced"),
        ("activity:traced", "activity:traced"),  # below
        ("activity:traced", "orchestration:traced_below"),
        ("activity:traced", "orchestration:tracing"),
        ("create_orchestration:traced_below", ""),
        ("orchestration:traced_below", "create_orchestration:traced_below"),
        ("orchestration:tracing:timer", "orchestration:tracing"),
    ]
    once = [
        ("POST v1/start/{name}/{id}", ""),
        ("create_orchestration:tracing", "POST v1/start/{name}/{id}"),
        ("orchestration:tracing", "create_orchestration:tracing"),
    ]
    assert tree == sorted(once + twice + twice)
    runs = [each["data"]["baseData"] for each in found.values() if each["data"]["baseType"] == "RequestData"]
    assert [each["success"] for each in runs if each["name"] == "activity:traced"].count(False) == 2
    parents = {parent.split("-")[2] for _, parent in noted}
    assert parents == {each["id"] for each in runs if each["name"] == "activity:traced"}


async def test_a_restarted_host_goes_on_with_the_trace(
    host: Host, telemetry: Telemetry, caller: dict[str, str]
) -> None:
    text, instance = token_hex(4), token_hex(6)
    await host.http.post(f"v1/start/holding/{instance}", content=text, headers=caller)

    async def held() -> bool:
        return bool(host.processes_of(f"hold {text}"))

    await until(held)
    host.processes.kill("traced-host")
    await host.processes.restart("traced-host")
    await host.result(instance)
    found = await spans(telemetry, trace_of(caller["traceparent"]), "orchestration:holding")
    runs = [each["data"]["baseData"]["name"] for each in found.values() if each["data"]["baseType"] == "RequestData"]
    assert {"activity:hold", "activity:append", "orchestration:holding"} <= set(runs)


async def test_the_host_sends_what_is_left_when_it_ends(
    host: Host, telemetry: Telemetry, caller: dict[str, str]
) -> None:
    await host.http.get("v1/trace/last", headers=caller)
    await host.processes.restart("traced-host")
    assert await telemetry.envelopes(trace=trace_of(caller["traceparent"]))
