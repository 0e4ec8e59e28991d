"""What Application Insights gets of a tenant's life: a signup, a failure, a killed worker, a sweep and a wake."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psutil
import pytest

from cli.api import Api, Json
from cli.demo.weeks import SOURCE, settings, sweep_night
from local.kubernetes.control_plane import Options
from local.stack import Stack
from shared.telemetry import spans
from shared.telemetry.metrics import all_metrics
from tests.support.builders import new_slug, signup_body
from tests.support.polling import until

REQUEST, DEPENDENCY = "RequestData", "RemoteDependencyData"
REDELIVERY = 2.0
EXPECTED = {
    *("berth.operation.duration", "berth.operation.failures", "berth.step.duration", "berth.queue.wait"),
    *("berth.dependency.duration", "berth.sweeps"),
}


@dataclass(frozen=True)
class Span:
    """A row of AppRequests or AppDependencies."""

    name: str
    type: str
    trace: str
    id: str
    parent: str
    worker: str
    success: bool
    properties: Mapping[str, str]

    @classmethod
    def of(cls, envelope: Mapping[str, Any]) -> "Span":
        data, tags = envelope["data"]["baseData"], envelope["tags"]
        return cls(
            name=data["name"],
            type=data.get("type", REQUEST),
            trace=tags["ai.operation.id"],
            id=data["id"],
            parent=tags.get("ai.operation.parentId", ""),
            worker=tags["ai.cloud.roleInstance"],
            success=data["success"],
            properties=data.get("properties") or {},
        )


@dataclass
class Life:
    """What was done, and what was exported of it."""

    stack: Stack
    envelopes: Sequence[Mapping[str, Any]]
    signup: Json
    failure: Json
    interrupted: Json
    wake: Json
    sweep: Json

    async def told_of(self, *operations: Json, metrics: Set[str] = frozenset()) -> None:
        """Wait until the ends of operations, and these metrics, were sent."""

        async def is_told() -> bool:
            self.envelopes = await self.stack.telemetry.envelopes()
            ends = {each.properties.get("operation") for each in self.spans if each.name == spans.OPERATION.name}
            return ends >= {each["id"] for each in operations} and self.metrics.keys() >= metrics

        await until(is_told, seconds=60)

    def of_kind(self, *kinds: str) -> list[Mapping[str, Any]]:
        return [each for each in self.envelopes if each["data"]["baseType"] in kinds]

    @property
    def spans(self) -> list[Span]:
        return [Span.of(each) for each in self.of_kind(REQUEST, DEPENDENCY)]

    @property
    def metrics(self) -> Mapping[str, set[frozenset[str]]]:
        """berth's metrics, and with which dimensions each was sent."""
        found: dict[str, set[frozenset[str]]] = defaultdict(set)
        for each in self.of_kind("MetricData"):
            data = each["data"]["baseData"]
            for point in data["metrics"]:
                if point["name"].startswith("berth."):
                    found[point["name"]].add(frozenset(data.get("properties") or {}))
        return found

    def operation(self, operation: Json) -> list[Span]:
        return [each for each in self.spans if each.properties.get("operation") == operation["id"]]

    def whole(self, operation: Json) -> Span:
        [found] = [each for each in self.operation(operation) if each.name == spans.OPERATION.name]
        return found

    def trace_of(self, operation: Json) -> list[Span]:
        return [each for each in self.spans if each.trace == self.whole(operation).trace]


async def ended(api: Api, operation: Json) -> Json:
    async with asyncio.timeout(60):
        async for each in api.follow(operation):
            operation = each
    return operation


async def interrupt(stack: Stack, api: Api) -> Json:
    """Sign a tenant up, and kill all workers while one waits for it."""
    operation = await api.call("POST", "tenants", signup_body(new_slug(), version="slow"))

    async def waits() -> bool:
        told = [Span.of(each) for each in await stack.telemetry.envelopes(type=DEPENDENCY)]
        mine = [each for each in told if each.properties.get("operation") == operation["id"]]
        return any(each.name == "list pods" for each in mine)

    await until(waits)
    for worker in psutil.Process(stack.processes.pids()["host"]).children():
        worker.kill()
    await until(stack.host_ready)
    return await ended(api, operation)


async def sweep(stack: Stack, api: Api, operators: Api) -> Json:
    """Let the timer's sweep find a tenant that was not used for two weeks."""
    since = stack.clock.now()
    stack.clock.move(since + timedelta(days=15))
    watched = {"since": since.isoformat(), "until": stack.clock.now().isoformat()}
    await api.call("POST", "activity", {"source": SOURCE, "cluster": "local", "entries": [], "watched": watched})
    async with httpx.AsyncClient(trust_env=False, headers={"x-functions-key": stack.master_key}) as http:
        (await http.post(f"{stack.api_url}/admin/functions/sweep", json={})).raise_for_status()
    found: list[Json] = []

    async def is_over() -> bool:
        found[:] = (await operators.call("GET", "sweeps", limit=1))["items"]
        return bool(found) and found[0]["ended_at"] is not None

    await until(is_over, seconds=60)
    return found[0]


@pytest.fixture(scope="module")
async def life() -> AsyncIterator[Life]:
    options = Options(ready_seconds=0.3, slow_seconds=5)
    chosen = {**settings(sweep_night(datetime.now(UTC))), "BERTH_SWEEP_MAX_SHARE": "1.0"}
    async with (
        Stack(chosen, options=options, workers=2, redelivery=REDELIVERY, clock=True, telemetry=True) as stack,
        Api(stack.api_url, stack.function_key) as api,
        Api(stack.api_url, stack.master_key) as operators,
    ):
        signup = await ended(api, await api.call("POST", "tenants", signup_body(new_slug())))
        interrupted = await interrupt(stack, api)
        failure = await ended(api, await api.call("POST", "tenants", signup_body(new_slug(), version="missing")))
        life = Life(stack, [], signup, failure, interrupted, {}, {})
        await life.told_of(signup, interrupted, failure)  # before the clock moves: weeks later the service refuses it
        life.sweep = await sweep(stack, api, operators)
        life.wake = await ended(api, await api.call("POST", f"tenants/{signup['tenant']}/wake"))
        await life.told_of(life.wake, metrics=EXPECTED)
        yield life


async def test_nothing_is_refused_and_nothing_else_is_called(life: Life) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        state = (await http.get(f"{life.stack.telemetry.url}/state")).json()
    # What was under way when the clock was moved seems to have begun weeks ago.
    assert [each for each in state["refused"] if not each["message"].startswith("103: ")] == []
    assert state["calls"] == {}
    assert state["accepted"] > 100


def test_a_signup_is_one_trace_from_its_request(life: Life) -> None:
    trace = life.trace_of(life.signup)
    [request] = [each for each in trace if each.type == REQUEST and each.name.startswith("POST ")]
    assert life.whole(life.signup).parent == request.id
    assert all(each in trace for each in life.operation(life.signup))
    ids = {each.id for each in trace}
    assert [each for each in trace if each is not request and each.parent not in ids] == []
    names = {each.name for each in life.operation(life.signup)}
    assert {"apply_tenant", "await_tenant", "step", "apply statefulsets", "apply httproutes"} <= names
    assert {"transact tenants", "transact clusters"} <= names
    calls = [each for each in trace if each.properties.get("dependency")]
    assert {each.type for each in calls} == {"kubernetes", "tables"}
    by_id = {each.id: each for each in trace}
    for each in calls:
        assert by_id[each.parent].name in {request.name, "apply_tenant", "await_tenant"}, each
    for each in life.operation(life.signup):
        assert each.properties["tenant"] == life.signup["tenant"]


def test_no_name_has_an_id_in_it(life: Life) -> None:
    slugs = {each["tenant"] for each in (life.signup, life.failure, life.interrupted)}
    for each in life.spans:
        assert not any(slug in each.name for slug in slugs), each.name
        assert "?" not in each.name


def test_a_trace_goes_on_over_a_redelivery(life: Life) -> None:
    assert life.interrupted["state"] == "succeeded"
    mine = life.operation(life.interrupted)
    assert len({each.worker for each in mine}) >= 2
    assert {each.trace for each in mine} == {life.whole(life.interrupted).trace}
    lists = [each for each in mine if each.name == "list pods"]
    assert len({each.worker for each in lists}) == 2


def test_a_failure_has_its_class(life: Life) -> None:
    whole = life.whole(life.failure)
    assert not whole.success
    assert (whole.properties["outcome"], whole.properties["failure"]) == ("failed", "image")
    assert any(each.name == "remove_tenant" for each in life.trace_of(life.failure))


def test_a_sweep_and_what_it_begins_have_traces(life: Life) -> None:
    wholes = [each for each in life.spans if each.name == spans.OPERATION.name]
    [swept] = [each for each in wholes if each.properties["kind"] == "sweep"]
    assert swept.properties["sweep"] == life.sweep["id"]
    hibernations = [each for each in wholes if each.properties["kind"] == "hibernate"]
    assert {each.properties["tenant"] for each in hibernations} == {life.signup["tenant"], life.interrupted["tenant"]}
    assert len({swept.trace, *(each.trace for each in hibernations)}) == 3


def test_a_wake_is_a_trace_of_its_own(life: Life) -> None:
    whole = life.whole(life.wake)
    assert whole.properties["kind"] == "wake"
    assert whole.trace != life.whole(life.signup).trace
    assert "apply statefulsets" in {each.name for each in life.trace_of(life.wake)}


def test_timers_tell_of_no_calls(life: Life) -> None:
    timers = {
        each.trace
        for each in life.spans
        if each.type == REQUEST and each.properties.get("faas.trigger") == "timerTrigger"
    }
    assert timers
    assert not [each for each in life.spans if each.trace in timers and each.properties.get("dependency")]


def test_metrics_are_those_of_the_catalogue(life: Life) -> None:
    known = {each.name: {frozenset(each.dimensions)} for each in all_metrics()}
    assert dict(life.metrics) == {name: known[name] for name in life.metrics}
