"""What an operation tells of itself: spans in one trace, and metrics, once."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.retry import RetryPolicy, with_retry
from shared.domain.lifecycle import OperationKind
from shared.domain.workflow import Activity
from shared.errors import Conflict, NotFound, Transient
from shared.telemetry import metrics, spans
from shared.telemetry.recorder import recorder
from tests.support.recorded_telemetry import RecordedSpan, RecordedTelemetry, recorded_telemetry
from tests.support.world import PORTAL, new_world

REQUEST = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def told() -> Iterator[RecordedTelemetry]:
    with recorded_telemetry() as recorded:
        yield recorded


def trace_of(span: RecordedSpan) -> str:
    return span.trace.split("-")[1]


async def test_a_signup_is_one_trace(told: RecordedTelemetry) -> None:
    world = await new_world()
    with recorder().within(REQUEST):
        operation = await world.sign_up()
    await world.run()
    [whole] = told.named(spans.OPERATION.name)
    assert whole.parent == REQUEST
    assert (whole.began, whole.ended) == (operation.created_at, (await world.tenant()).operation.finished_at)
    tenant = await world.tenant()
    assert whole.attributes["tenant"] == "acme"
    assert whole.attributes["operation"] == operation.id
    assert whole.attributes["instance"] == tenant.instance
    assert whole.attributes["cluster"] == tenant.cluster
    assert (whole.attributes["kind"], whole.attributes["outcome"]) == ("provision", "succeeded")
    steps = told.named(spans.STEP.name)
    assert [each.attributes["step"] for each in steps] == ["place", "apply", "start"]
    assert {each.parent for each in steps} == {whole.trace}
    work = [each for each in told.spans if each.name in set(Activity)]
    assert {each.name for each in work} == {Activity.APPLY, Activity.AWAIT}
    assert {trace_of(each) for each in told.spans} == {REQUEST[3:35]}
    assert all(each.attributes["instance"] == tenant.instance for each in work)
    assert all(each.attributes["verdict"] for each in work)
    assert told.values(metrics.OPERATION_DURATION) == [whole_seconds(whole)]
    assert told.values(metrics.OPERATION_DURATION, kind="provision", outcome="succeeded")
    assert len(told.values(metrics.STEP_DURATION, kind="provision")) == 3
    assert len(told.values(metrics.QUEUE_WAIT, kind="provision")) == 1
    assert not told.values(metrics.OPERATION_FAILURES)


async def test_late_work_tells_of_the_end_only_once(told: RecordedTelemetry) -> None:
    world = await new_world()
    operation = await world.sign_up()
    await world.run()
    for activity in (Activity.APPLY, Activity.AWAIT):
        await world.do(activity, operation)
    assert len(told.named(spans.OPERATION.name)) == 1
    assert len(told.values(metrics.OPERATION_DURATION)) == 1


async def test_a_lost_response_loses_nothing_of_the_end(told: RecordedTelemetry) -> None:
    world = await new_world()
    await world.sign_up()
    faults = world.worker.faults
    before = faults.call

    async def lose_latency(name: str, attempt: Any) -> Any:
        if name.startswith("transact latency"):
            faults.lose(len(faults.calls) + 1)
        return await before(name, attempt)

    faults.call = lose_latency
    await world.run()
    assert [name for name in faults.calls if "latency" in name]
    assert len(told.named(spans.OPERATION.name)) == 1


async def test_what_took_days_seems_to_begin_later(told: RecordedTelemetry) -> None:
    world = await new_world()
    operation = await world.sign_up()
    world.clock.advance(3 * 86400)
    await world.timers()
    await world.run()
    [whole] = told.named(spans.OPERATION.name)
    assert whole.began is not None
    assert whole.ended is not None
    assert whole.ended - whole.began == timedelta(hours=47)
    assert float(whole.attributes["total_seconds"]) > 3 * 86400 - 1
    steps = told.named(spans.STEP.name)
    assert all(each.began is not None and each.began >= whole.began for each in steps)
    assert (await world.tenant()).operation.id == operation.id


async def test_late_work_has_nothing_of_the_next_operation(told: RecordedTelemetry) -> None:
    world = await new_world()
    first = await world.sign_up(version="missing")
    await world.run()
    await world.worker.retry.retry(first.slug, "1.0.0", PORTAL, world.workflows)
    await world.run()
    told.spans.clear()
    await world.do(Activity.APPLY, first)
    [late] = told.named(Activity.APPLY)
    assert late.attributes["operation"] == first.id
    assert "instance" not in late.attributes


async def test_a_visitors_wake_is_a_trace_of_its_own(told: RecordedTelemetry) -> None:
    world = await new_world()
    tenant = await world.asleep()
    told.spans.clear()
    with recorder().within(REQUEST):
        await world.worker.visits.visit(f"acme.{(await world.cluster()).domain}", world.workflows)
    await world.run()
    wake = (await world.tenant()).operation
    assert (wake.kind, tenant.slug) == (OperationKind.WAKE, "acme")
    assert wake.trace
    assert wake.trace[3:35] != REQUEST[3:35]
    assert {trace_of(each) for each in told.spans} == {wake.trace[3:35]}


async def test_a_failure_is_counted_with_its_class(told: RecordedTelemetry) -> None:
    world = await new_world()
    await world.sign_up(version="missing")
    await world.run()
    [whole] = told.named(spans.OPERATION.name)
    assert whole.has_failed
    assert whole.attributes["failure"] == "image"
    assert told.values(metrics.OPERATION_FAILURES, kind="provision", failure="image") == [1.0]
    assert told.values(metrics.OPERATION_DURATION, outcome="failed")


async def test_who_starts_another_keeps_its_trace(told: RecordedTelemetry) -> None:
    world = await new_world(max_concurrent=1)
    with recorder().within(REQUEST):
        await world.sign_up("first")
    with recorder().within(recorder().new_trace()):
        second = await world.sign_up("second")
    await world.run()
    mine = [each for each in told.spans if each.attributes.get("tenant") == "second"]
    assert {trace_of(each) for each in mine} == {second.trace[3:35]}
    assert second.trace[3:35] != REQUEST[3:35]
    assert len(mine) >= 5


async def test_an_activity_that_breaks_off_is_marked(told: RecordedTelemetry) -> None:
    world = await new_world()
    operation = await world.sign_up()

    def break_off(_: str) -> None:
        raise ValueError("owner@example.com")

    world.worker.faults.away = break_off
    with pytest.raises(ValueError, match="owner"):
        await world.do(Activity.APPLY, operation)
    [work] = told.named(Activity.APPLY)
    assert work.error == "ValueError"
    assert "owner@example.com" not in str(told.spans)


async def test_calls_are_recorded_within_work_only(told: RecordedTelemetry) -> None:
    with spans.call("tables", "get", table="tenants"):
        pass
    with spans.work("sweeping", calls=False), spans.call("tables", "get", table="tenants"):
        pass
    assert [each.name for each in told.spans] == ["sweeping"]
    with spans.work("working"), spans.call("tables", "get", table="tenants"):
        pass
    assert [each.name for each in told.spans[1:]] == ["working", "get tenants"]


async def test_an_answer_is_no_failure_of_the_service(told: RecordedTelemetry) -> None:
    for error in (NotFound("x"), Conflict("x"), Transient("x")):
        with spans.with_calls(), pytest.raises(type(error)), spans.call("tables", "get", table="tenants"):
            raise error
    found = [(each.error, each.attributes.get("error")) for each in told.spans]
    assert found == [("", "NotFound"), ("", "Conflict"), ("Transient", None)]


async def test_retries_are_events_of_the_call(told: RecordedTelemetry) -> None:
    tries = iter((Transient("busy", 0.001), Transient("busy")))

    async def attempt() -> str:
        for error in tries:
            raise error
        return "done"

    policy = RetryPolicy(first_pause=0.001)
    with spans.with_calls(), spans.call("tables", "get", table="tenants"):
        assert await with_retry(attempt, policy, dependency="tables") == "done"
    [call] = told.spans
    assert [name for name, _ in call.events] == ["retry: throttled", "retry"]
    assert told.values(metrics.RETRIES, dependency="tables") == [1.0, 1.0]
    assert told.values(metrics.THROTTLES, dependency="tables") == [1.0]
    assert len(told.values(metrics.CALL_DURATION, dependency="tables", outcome="ok")) == 1


def whole_seconds(span: RecordedSpan) -> float:
    assert span.began is not None
    assert span.ended is not None
    return (span.ended - span.began).total_seconds()
