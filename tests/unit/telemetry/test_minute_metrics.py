"""What the timer `recover` tells each minute: operations, queues, slots and breakers, also of what there is none."""

from collections import Counter
from collections.abc import Iterator

import pytest

from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import OperationKind
from shared.domain.workflow import Activity
from shared.errors import Transient, Unreachable
from shared.telemetry import metrics
from shared.telemetry.recorder import Metric
from tests.support.builders import new_cluster, new_settings
from tests.support.recorded_telemetry import RecordedTelemetry, recorded_telemetry
from tests.support.world import new_world

ONE = ClusterName("one")
STUCK_AFTER = 300


@pytest.fixture
def told() -> Iterator[RecordedTelemetry]:
    with recorded_telemetry() as recorded:
        yield recorded


def by(told: RecordedTelemetry, metric: Metric, dimension: str) -> dict[str, float]:
    """Return the last value for each value of a dimension."""
    return {found[dimension]: value for each, value, found in told.measured if each == metric}


def kinds(**counts: float) -> dict[str, float]:
    return {kind.value: 0 for kind in OperationKind} | counts


async def test_without_work_everything_is_zero(told: RecordedTelemetry) -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two")])
    await world.timers()
    assert by(told, metrics.OPEN_OPERATIONS, "kind") == by(told, metrics.STUCK_OPERATIONS, "kind") == kinds()
    assert by(told, metrics.QUEUE_LENGTH, "cluster") == {"one": 0, "two": 0}
    assert by(told, metrics.QUEUE_LENGTH, "kind") == {"provision": 0, "wake": 0}
    assert by(told, metrics.SLOTS_USED, "cluster") == {"one": 0, "two": 0}
    assert by(told, metrics.SLOTS_LIMIT, "cluster") == {"one": 64, "two": 64}
    assert by(told, metrics.BREAKER_OPEN, "cluster") == {"one": 0, "two": 0}
    assert not told.values(metrics.RECOVERY_RESTARTS)
    assert len(told.measured) == 2 * len(OperationKind) + 2 * (2 + 1 + 1 + 1)  # each once


async def test_slots_and_both_queues(told: RecordedTelemetry) -> None:
    world = await new_world(max_concurrent=1, wake_slots=0)
    await world.asleep("sleeper")
    for slug in ("first", "second", "third"):
        await world.sign_up(slug)
    await world.wake("sleeper")
    told.measured.clear()
    await world.timers()
    assert told.values(metrics.SLOTS_USED, cluster="one") == [1]
    assert told.values(metrics.SLOTS_LIMIT, cluster="one") == [1]
    assert told.values(metrics.QUEUE_LENGTH, cluster="one", kind="provision") == [2]
    assert told.values(metrics.QUEUE_LENGTH, cluster="one", kind="wake") == [1]
    assert by(told, metrics.OPEN_OPERATIONS, "kind") == kinds(provision=3, wake=1)


async def test_who_waits_for_a_slot_is_not_stuck(told: RecordedTelemetry) -> None:
    world = await new_world(max_concurrent=1)
    first = await world.sign_up("first")
    await world.sign_up("second")
    await world.do(Activity.APPLY, first)
    world.clock.advance(STUCK_AFTER + 1)
    await world.timers()
    assert by(told, metrics.STUCK_OPERATIONS, "kind") == kinds(provision=1)
    assert by(told, metrics.OPEN_OPERATIONS, "kind") == kinds(provision=2)


async def test_a_restart_counts_once(told: RecordedTelemetry) -> None:
    world = await new_world(workers=2)
    await world.sign_up()
    world.workflows.running.clear()
    world.clock.advance(61)
    await world.timers(worker=0)
    await world.timers(worker=1)
    assert told.values(metrics.RECOVERY_RESTARTS) == told.values(metrics.RECOVERY_RESTARTS, kind="provision") == [1]
    assert not told.values(metrics.RECOVERY_EXHAUSTED)


async def test_a_restart_that_fails_does_not_count(told: RecordedTelemetry) -> None:
    world = await new_world()
    await world.sign_up()
    world.workflows.running.clear()
    world.clock.advance(61)
    world.worker.faults.away = lambda name: Transient("away") if name == "transact tenants" else None
    await world.timers()
    assert not told.values(metrics.RECOVERY_RESTARTS)


async def test_each_look_at_an_exhausted_operation_counts(told: RecordedTelemetry) -> None:
    settings = new_settings()
    recovery = settings.recovery.model_copy(update={"max_restarts": 1})
    world = await new_world(settings=settings.model_copy(update={"recovery": recovery}))
    await world.sign_up()
    for _ in range(3):
        world.workflows.running.clear()
        world.clock.advance(61)
        await world.timers()
    assert told.values(metrics.RECOVERY_RESTARTS) == [1]
    assert told.values(metrics.RECOVERY_EXHAUSTED, kind="provision") == [1, 1]


async def test_a_breaker_opens_and_closes(told: RecordedTelemetry) -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two")])
    world.kubernetes[ONE].away = Unreachable("no route to host")
    for _ in range(3):
        await world.timers()
    world.kubernetes[ONE].away = None
    await world.timers()
    assert told.values(metrics.BREAKER_OPEN, cluster="one") == [0, 1, 1, 0]
    assert told.values(metrics.BREAKER_OPEN, cluster="two") == [0, 0, 0, 0]


async def test_a_breaker_that_cannot_be_written_is_as_before(told: RecordedTelemetry) -> None:
    world = await new_world()
    world.kubernetes[ONE].away = Unreachable("no route to host")
    await world.timers()
    world.worker.faults.away = lambda name: Transient("away") if name == "transact clusters" else None
    await world.worker.breakers.check_all()
    assert told.values(metrics.BREAKER_OPEN, cluster="one") == [0, 0]


async def test_a_quiet_minute_reads_little() -> None:
    world = await new_world()
    await world.active()
    world.clock.advance(3600)
    world.worker.faults.reset()
    await world.timers()
    assert Counter(world.worker.faults.calls) == {
        "check": 1,
        "removed namespaces": 1,
        "get reconciliations": 1,
        "transact reconciliations": 1,
        "query tenants": 16,  # the index of open operations, shard by shard
        "query clusters": 2,  # the clusters, and the reservations that wait or start
        "get clusters": 1,
    }
