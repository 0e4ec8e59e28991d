"""What sweeps tell: how each ended, and once for each tenant what was decided, by the class of the reason."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from shared.adapters.tables.keys import shard, tenant_key
from shared.domain.policy import PolicyOverride
from shared.domain.slugs import Slug
from shared.domain.sweeps import SweepState
from shared.telemetry import metrics
from tests.support.recorded_telemetry import RecordedTelemetry, recorded_telemetry
from tests.support.sweeping import Fleet, new_fleet


@pytest.fixture
def told() -> Iterator[RecordedTelemetry]:
    with recorded_telemetry() as recorded:
        yield recorded


def decisions(told: RecordedTelemetry) -> dict[tuple[str, str], float]:
    counts = Counter[tuple[str, str]]()
    for each, value, found in told.measured:
        if each == metrics.SWEEP_DECISIONS:
            counts[found["outcome"], found["reason"]] += int(value)
    return dict(counts)


async def mixed() -> Fleet:
    fleet = await new_fleet(["dormant", "another"])
    await fleet.add("used", idle_days=2)
    await fleet.add("exempt", plan="standard")
    await fleet.add("kept", policy=PolicyOverride(keep_awake_until=fleet.clock.now() + timedelta(days=9)))
    await fleet.add("former", plan="of-old")
    return fleet


DECIDED = {
    ("hibernate", "idle"): 2,
    ("keep", "not-due"): 1,
    ("keep", "exempt"): 1,
    ("keep", "keep-awake"): 1,
    ("unknown", "no-plan"): 1,
}


async def test_each_tenant_counts_once_with_its_reason(told: RecordedTelemetry) -> None:
    fleet = await mixed()
    sweep = await fleet.swept()
    assert sweep.state is SweepState.DONE
    assert decisions(told) == DECIDED
    assert told.values(metrics.SWEEPS) == told.values(metrics.SWEEPS, state="done") == [1]


async def test_a_dry_run_does_not_count(told: RecordedTelemetry) -> None:
    fleet = await mixed()
    await fleet.swept(dry_run=True)
    assert not told.measured


async def test_a_refused_sweep_counts_as_such(told: RecordedTelemetry) -> None:
    fleet = await new_fleet([f"t-{number}" for number in range(3)], max_tenants=2)
    assert (await fleet.swept()).state is SweepState.REFUSED
    assert decisions(told) == {("hibernate", "idle"): 3}
    assert told.values(metrics.SWEEPS, state="refused") == [1]


async def test_without_signals_all_are_unknown(told: RecordedTelemetry) -> None:
    fleet = await new_fleet(["one", "two"])
    fleet.clock.advance(86400)
    await fleet.swept()
    assert decisions(told) == {("unknown", "signals"): 2}


async def test_one_that_cannot_be_read_has_its_own_reason(told: RecordedTelemetry) -> None:
    fleet = await new_fleet(["one"])
    rows = fleet.storage.rows["tenants"]
    key = shard(Slug("one")), tenant_key(Slug("one"))
    row, etag = rows[key]
    rows[key] = {**row, "schema_version": 99}, etag
    await fleet.swept()
    assert told.values(metrics.SWEEPS) == [1]
    assert decisions(told) == {("unknown", "unreadable"): 1}


async def test_two_workers_that_decide_the_same_count_once(told: RecordedTelemetry) -> None:
    fleet = await new_fleet([f"t-{number}" for number in range(5)], workers=2)
    sweep = await fleet.start()
    stall = fleet.workers[0].faults.stall_next("transact sweeps")
    late = asyncio.ensure_future(fleet.workers[0].advance.run(sweep.id, fleet.workflows))
    await stall.reached_or_done(late)
    await fleet.run(sweep, worker=1)
    stall.release()
    await late
    assert decisions(told) == {("hibernate", "idle"): 5}
    assert told.values(metrics.SWEEPS) == [1]
