"""The latency rows: one for each ended operation, with the seconds of every step."""

from dataclasses import replace
from datetime import timedelta
from secrets import token_hex

from shared.adapters.tables.latency import TABLE, TableLatencyRepository
from shared.adapters.tables.storage import Row, TableStorage, Upsert
from shared.domain.latency import LatencyKind, sample_of, sample_of_sweep
from shared.domain.lifecycle import StepName
from shared.domain.sweeps import Sweep, SweepId, SweepStart, SweepState
from shared.domain.tenants import Tenant
from tests.support.builders import new_slug, new_tenant
from tests.support.clock import START


def ended_tenant() -> Tenant:
    value = new_tenant(new_slug())
    operation = value.operation.start_step(StepName.PLACE, START + timedelta(seconds=2))
    operation = operation.start_step(StepName.APPLY, START + timedelta(seconds=3))
    operation = operation.start_step(StepName.START, START + timedelta(seconds=5))
    value = replace(value, operation=replace(operation, cluster="one"))
    return value.succeed(START + timedelta(seconds=9), quarantine=timedelta(0))


async def recorded(storage: TableStorage, tenant: Tenant) -> list[Row]:
    where = f"PartitionKey eq '{tenant.operation.kind}-20260228' and RowKey eq @id"
    return [row async for row, _ in storage.query(TABLE, where, {"id": tenant.operation.id})]


async def test_a_row_has_the_seconds_of_every_step(storage: TableStorage) -> None:
    ended = ended_tenant()
    await TableLatencyRepository(storage).record(sample_of(ended), now=START)
    row = (await recorded(storage, ended))[0]
    seconds = {name: row[f"{name}_seconds"] for name in ("queued", "place", "apply", "start", "total")}
    assert seconds == {"queued": 3.0, "place": 1.0, "apply": 2.0, "start": 4.0, "total": 9.0}
    assert (row["waiting_seconds"], row["work_seconds"], row["wait_steps"]) == (7.0, 2.0, "place,start")
    named = [row[name] for name in ("outcome", "failure", "cluster", "plan", "version", "slug")]
    assert named == ["succeeded", "none", "one", "trial", "1.0.0", ended.slug]


async def test_a_sample_comes_back_as_it_was_recorded(storage: TableStorage) -> None:
    sample = sample_of(ended_tenant())
    latency = TableLatencyRepository(storage)
    await latency.record(sample, now=START)
    assert [each for each in await latency.of_day(sample.kind, sample.day) if each.id == sample.id] == [sample]
    assert all(each.kind is LatencyKind.PROVISION for each in await latency.of_day(sample.kind, sample.day))
    assert sample not in await latency.of_day(LatencyKind.WAKE, sample.day)
    assert sample not in await latency.of_day(sample.kind, sample.day + timedelta(days=1))


async def test_a_sweep_has_a_row_with_its_phases(storage: TableStorage) -> None:
    start = SweepStart(SweepId(f"sweep-2026-02-28-{token_hex(3)}"), dry_run=False, actor="timer", started_at=START)
    acting = Sweep(start, heartbeat_at=START).acting(START + timedelta(seconds=3))
    ended = acting.ended(SweepState.STOPPED, START + timedelta(seconds=10), "stopped by ops")
    latency = TableLatencyRepository(storage)
    await latency.record(sample_of_sweep(ended), now=START)
    row, _ = await storage.get(TABLE, "sweep-20260228", start.id)
    assert (row["decide_seconds"], row["act_seconds"], row["total_seconds"]) == (3.0, 7.0, 10.0)
    assert (row["waiting_seconds"], row["outcome"], row["failure"]) == (7.0, "cancelled", "cancelled")


async def test_a_row_of_another_version_is_skipped(storage: TableStorage) -> None:
    sample = sample_of(ended_tenant())
    latency = TableLatencyRepository(storage)
    await latency.record(sample, now=START)
    row, _ = await storage.get(TABLE, "provision-20260228", sample.id)
    await storage.transact(TABLE, [Upsert({**row, "schema_version": 999})])
    assert sample.id not in {each.id for each in await latency.of_day(sample.kind, sample.day)}


async def test_recording_again_leaves_one_row(storage: TableStorage) -> None:
    ended = ended_tenant()
    for _ in range(2):
        await TableLatencyRepository(storage).record(sample_of(ended), now=START)
    assert len(await recorded(storage, ended)) == 1


async def test_a_step_that_never_ran_has_no_seconds(storage: TableStorage) -> None:
    ended = new_tenant(new_slug()).fail(START)
    await TableLatencyRepository(storage).record(sample_of(ended), now=START)
    row = (await recorded(storage, ended))[0]
    assert row["total_seconds"] == 0.0
    assert "place_seconds" not in row
    assert "email" not in row
