"""The daily roll-ups of latency: written on what was read, and read by range. Each test has a month of its own."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from shared.adapters.tables.latency import TableLatencyRepository
from shared.adapters.tables.latency_rollups import TABLE, TableLatencyRollupRepository
from shared.adapters.tables.storage import Row, TableStorage, Upsert
from shared.application.ports.stored import Stored
from shared.domain.failures import FailureClass
from shared.domain.latency import LatencyKind, Sample
from shared.domain.latency_rollup import Rollup, RollupProgress, roll_up
from shared.domain.operations import OperationState
from shared.errors import Conflict
from tests.support.builders import new_sample
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables

KIND, DAY = LatencyKind.PROVISION, timedelta(days=1)
MONTHS = count()


@pytest.fixture
def rollups(storage: TableStorage) -> TableLatencyRollupRepository:
    return TableLatencyRollupRepository(storage)


@pytest.fixture
def day() -> date:
    """The last day but one of a month that no other test has."""
    return date(2100, 1, 30) + next(MONTHS) * timedelta(days=40)


def samples(day: date) -> list[Sample]:
    """Return some of which no two clusters, plans and outcomes are alike, with names that have hyphens."""
    failed: dict[str, Any] = {"outcome": OperationState.FAILED, "failure": FailureClass.NO_ROOM}
    return [
        new_sample(day, cluster="weu-1", plan="trial-2", seconds=3.3),
        new_sample(day, cluster="weu", plan="1-trial-2", seconds=0.0),
        new_sample(day, cluster="weu-1", plan="trial", seconds=1e7, **failed),
        new_sample(day, cluster="", plan="trial", steps={}, **failed),
    ]


async def store(rollups: TableLatencyRollupRepository, day: date, found: list[Sample]) -> list[Rollup]:
    made = list(roll_up(KIND, day, found))
    await rollups.replace(await rollups.of_day(KIND, day), made)
    return made


async def between(rollups: TableLatencyRollupRepository, start: date, end: date) -> list[Rollup]:
    return [each async for each in rollups.between(KIND, start, end)]


async def rows(storage: TableStorage, day: date) -> list[tuple[Row, str]]:
    where = "PartitionKey eq @kind and RowKey gt @start and RowKey lt @end"
    parameters = {"kind": KIND.value, "start": f"{day:%Y%m%d}:", "end": f"{day:%Y%m%d};"}
    return [(row, etag) async for row, etag in storage.query(TABLE, where, parameters)]


async def test_rollups_come_back_as_they_were_stored(rollups: TableLatencyRollupRepository, day: date) -> None:
    made = await store(rollups, day, samples(day))
    assert len(made) == 4
    assert sorted(await between(rollups, day, day), key=lambda each: each.key) == made
    stored = (await rollups.of_day(KIND, day)).rollups
    assert {key: each and each.value for key, each in stored.items()} == {each.key: each for each in made}


async def test_a_range_has_both_its_ends(rollups: TableLatencyRollupRepository, day: date) -> None:
    for each in range(4):  # over the end of the month
        await store(rollups, day + each * DAY, [new_sample(day + each * DAY)])
    found = await between(rollups, day + DAY, day + 2 * DAY)
    assert [each.day for each in found] == [day + DAY, day + 2 * DAY]
    assert [each async for each in rollups.between(LatencyKind.WAKE, day, day + 3 * DAY)] == []


async def test_what_is_the_same_is_not_written(
    rollups: TableLatencyRollupRepository, storage: TableStorage, day: date
) -> None:
    found = samples(day)
    await store(rollups, day, found)
    before = await rows(storage, day)
    await store(rollups, day, found[::-1])
    assert await rows(storage, day) == before
    await store(rollups, day, [*found, new_sample(day, cluster="weu-1", plan="trial-2")])
    changed = [each for each in await rows(storage, day) if each not in before]
    assert [row["total_count"] for row, _ in changed] == [2]


async def test_a_rollup_without_operations_goes(rollups: TableLatencyRollupRepository, day: date) -> None:
    found = samples(day)
    await store(rollups, day, found)
    left = await store(rollups, day, found[:1])
    assert await between(rollups, day, day) == left


async def test_who_read_before_another_wrote_conflicts(rollups: TableLatencyRollupRepository, day: date) -> None:
    one, two = new_sample(day), new_sample(day)
    first = await rollups.of_day(KIND, day)
    made = await store(rollups, day, [one, two])
    with pytest.raises(Conflict):
        await rollups.replace(first, roll_up(KIND, day, [one]))
    second = await rollups.of_day(KIND, day)
    await store(rollups, day, [])
    with pytest.raises(Conflict):
        await rollups.replace(second, roll_up(KIND, day, [one]))
    await rollups.replace(first, made)
    third = await rollups.of_day(KIND, day)
    made = await store(rollups, day, [one, two, new_sample(day)])
    with pytest.raises(Conflict):
        await rollups.replace(third, roll_up(KIND, day, [one]))
    assert await between(rollups, day, day) == made


async def test_a_lost_response_is_found_by_reading_again(
    rollups: TableLatencyRollupRepository, faulty: FaultyTables, faults: Faults, day: date
) -> None:
    before, made = await rollups.of_day(KIND, day), roll_up(KIND, day, [new_sample(day)])
    faults.lose(1)
    with pytest.raises(Conflict):
        await TableLatencyRollupRepository(faulty).replace(before, made)
    await rollups.replace(await rollups.of_day(KIND, day), made)
    assert await between(rollups, day, day) == made


@pytest.mark.parametrize(
    "changed", [{"schema_version": 999}, {"failures": '{"of-tomorrow": 1}'}, {"total_sketch": b"\0" * 7}]
)
async def test_an_unreadable_rollup_is_skipped_and_stays(
    rollups: TableLatencyRollupRepository, storage: TableStorage, day: date, changed: Row
) -> None:
    await store(rollups, day, samples(day))
    broken = (await rows(storage, day))[0][0] | changed
    await storage.transact(TABLE, [Upsert(broken)])
    assert len(await between(rollups, day, day)) == 3
    await store(rollups, day, [])
    assert [row | changed for row, _ in await rows(storage, day)] == [broken]
    await store(rollups, day, samples(day))
    assert len(await rows(storage, day)) == 4
    assert len(await between(rollups, day, day)) == 3


async def test_a_row_of_an_unknown_outcome_is_skipped(
    rollups: TableLatencyRollupRepository, storage: TableStorage, day: date
) -> None:
    made = await store(rollups, day, [new_sample(day)])
    unknown = {"PartitionKey": KIND.value, "RowKey": f"{day:%Y%m%d}:of-tomorrow:one:trial", "schema_version": 999}
    await storage.transact(TABLE, [Upsert(unknown)])
    assert await between(rollups, day, day) == made
    assert [each and each.value for each in (await rollups.of_day(KIND, day)).rollups.values()] == made


async def test_many_rollups_of_a_day_are_written(rollups: TableLatencyRollupRepository, day: date) -> None:
    made = await store(rollups, day, [new_sample(day, cluster=f"c-{number}") for number in range(230)])
    assert len(await between(rollups, day, day)) == len(made) == 230


async def test_a_sketch_of_all_durations_fits_a_row(
    rollups: TableLatencyRollupRepository, storage: TableStorage, day: date
) -> None:
    seconds = [0.001 * 1.01**number for number in range(2700)]  # to more than ten years
    made = await store(rollups, day, [new_sample(day, seconds=each) for each in seconds])
    assert await between(rollups, day, day) == made
    [(row, _)] = await rows(storage, day)
    sizes = [len(each) for name, each in row.items() if name.endswith("_sketch")]
    assert len(sizes) == 5
    assert 7000 < max(sizes) < 8192


async def test_progress_is_written_on_its_etag(storage: TableStorage, rollups: TableLatencyRollupRepository) -> None:
    at = datetime(2026, 3, 1, 12, 7, tzinfo=UTC)
    before = await rollups.progress()
    first = Stored(RollupProgress(date(2026, 2, 27), at), before.etag if before else "")
    await rollups.save_progress(first)
    found = await rollups.progress()
    assert found is not None
    assert found.value == first.value
    await rollups.save_progress(found.with_value(replace(found.value, final=date(2026, 2, 28))))
    with pytest.raises(Conflict):
        await TableLatencyRollupRepository(storage).save_progress(found)


async def test_a_late_row_marks_its_day(
    storage: TableStorage, rollups: TableLatencyRollupRepository, day: date
) -> None:
    latency, sample = TableLatencyRepository(storage), new_sample(day)
    await latency.record(sample, now=sample.ended_at)
    assert day not in [each.value for each in await rollups.late_days()]
    await latency.record(sample, now=sample.ended_at + DAY)
    [mark] = [each for each in await rollups.late_days() if each.value == day]
    await latency.record(sample, now=sample.ended_at + DAY)  # another one, since the mark was read
    await rollups.forget_late(mark)
    [mark] = [each for each in await rollups.late_days() if each.value == day]
    for _ in range(2):
        await rollups.forget_late(mark)
    assert day not in [each.value for each in await rollups.late_days()]
