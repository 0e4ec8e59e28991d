"""The latency rows: one for each ended operation, with the seconds of every step."""

from dataclasses import replace
from datetime import timedelta

from shared.adapters.tables.latency import TABLE, TableLatencyRepository
from shared.adapters.tables.storage import Row, TableStorage
from shared.domain.lifecycle import StepName
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
    await TableLatencyRepository(storage).record(ended)
    row = (await recorded(storage, ended))[0]
    seconds = {name: row[f"{name}_seconds"] for name in ("queued", "place", "apply", "start", "total")}
    assert seconds == {"queued": 3.0, "place": 1.0, "apply": 2.0, "start": 4.0, "total": 9.0}
    assert (row["outcome"], row["cluster"]) == ("succeeded", "one")


async def test_recording_again_leaves_one_row(storage: TableStorage) -> None:
    ended = ended_tenant()
    for _ in range(2):
        await TableLatencyRepository(storage).record(ended)
    assert len(await recorded(storage, ended)) == 1


async def test_a_step_that_never_ran_has_no_seconds(storage: TableStorage) -> None:
    ended = new_tenant(new_slug()).fail(START)
    await TableLatencyRepository(storage).record(ended)
    row = (await recorded(storage, ended))[0]
    assert row["total_seconds"] == 0.0
    assert "place_seconds" not in row
    assert "email" not in row
