"""The roll-up of latency, on fakes: late, twice, in two workers at once and after a gap it leaves the same rows."""

import asyncio
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.tables.latency import TABLE as LATENCY
from shared.adapters.tables.latency import TableLatencyRepository
from shared.adapters.tables.latency_rollups import TABLE, TableLatencyRollupRepository
from shared.adapters.tables.retention import TableOldRecords
from shared.adapters.tables.storage import Upsert
from shared.application.retention import Retention
from shared.application.roll_up_latency import MAX_SECONDS, RollUpLatency
from shared.domain.latency import LatencyKind, Sample
from shared.domain.latency_rollup import Rollup, roll_up
from shared.errors import Transient
from shared.settings import RetentionSettings
from tests.support.builders import new_sample
from tests.support.clock import FakeClock
from tests.support.fake_workflows import FakeWorkflows
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.interleaving import interleaved, schedules
from tests.support.memory_tables import MemoryTables

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 2, 27, 12, 7, tzinfo=UTC)  # the roll-ups are made at 7 minutes past every hour
TODAY = START.date()
KIND = LatencyKind.PROVISION


class Worker:
    """One worker on the shared storage."""

    def __init__(self, storage: MemoryTables, clock: FakeClock, settings: RetentionSettings) -> None:
        self.faults = Faults()
        tables = FaultyTables(storage, self.faults)
        self.latency = TableLatencyRepository(tables)
        self.rollups = TableLatencyRollupRepository(tables)
        self.roll_up = RollUpLatency(latency=self.latency, rollups=self.rollups, clock=clock, settings=settings)


class Ledger:
    """Two workers, one storage and one clock."""

    def __init__(self, settings: RetentionSettings | None = None) -> None:
        self.settings = settings or RetentionSettings()
        self.clock, self.storage = FakeClock(START), MemoryTables()
        self.workers = [Worker(self.storage, self.clock, self.settings) for _ in range(2)]
        self.samples: list[Sample] = []

    async def record(self, *samples: Sample, worker: int = 0) -> None:
        """Record operations now, whenever they ended."""
        for each in samples:
            self.samples.append(each)
            await self.workers[worker].latency.record(each, now=self.clock.now())

    async def run(self, worker: int = 0) -> None:
        await self.workers[worker].roll_up.run()

    async def hours(self, count: int) -> None:
        """Let hours pass, each with a run."""
        for _ in range(count):
            self.clock.advance(HOUR.total_seconds())
            await self.run()

    async def stored(self) -> list[Rollup]:
        """Return all roll-ups."""
        days = date(2000, 1, 1), date(2100, 1, 1)
        found = [each for kind in LatencyKind async for each in self.workers[0].rollups.between(kind, *days)]
        return sorted(found, key=lambda each: (each.kind, each.day, each.key))

    def expected(self) -> list[Rollup]:
        """Return the roll-ups of all operations that were recorded."""
        groups = {(each.kind, each.day) for each in self.samples}
        made = [
            roll_up(kind, day, [each for each in self.samples if (each.kind, each.day) == (kind, day)])
            for kind, day in groups
        ]
        return sorted((each for part in made for each in part), key=lambda each: (each.kind, each.day, each.key))

    def rows(self) -> dict[Any, Any]:
        """Return the rows of the table with their ETags, but not how far the roll-up has come."""
        return {key: row for key, row in self.storage.rows[TABLE].items() if key[1] != "progress"}


async def test_each_combination_has_a_rollup() -> None:
    ledger = Ledger()
    await ledger.record(
        new_sample(TODAY),
        new_sample(TODAY, cluster="two"),
        new_sample(TODAY, plan="business"),
        new_sample(TODAY, kind=LatencyKind.WAKE),
        new_sample(TODAY, seconds=30.0),
    )
    await ledger.run()
    assert await ledger.stored() == ledger.expected()
    assert sorted(each.count for each in await ledger.stored()) == [1, 1, 1, 2]


async def test_a_second_run_changes_nothing() -> None:
    ledger = Ledger()
    await ledger.record(new_sample(TODAY), new_sample(TODAY - DAY))
    await ledger.run()
    before = ledger.rows()
    await ledger.run(worker=1)
    await ledger.hours(3)
    assert ledger.rows() == before
    assert await ledger.stored() == ledger.expected()


async def test_what_ended_since_is_added() -> None:
    ledger = Ledger()
    for hours in range(60):  # over the end of the month
        await ledger.record(new_sample((START + hours * HOUR).date(), ended_at=ledger.clock.now()))
        await ledger.hours(1)
    assert {each.day for each in await ledger.stored()} == {date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1)}
    assert await ledger.stored() == ledger.expected()


async def test_a_week_without_runs_is_caught_up() -> None:
    ledger = Ledger()
    await ledger.run()
    for days in range(8):
        await ledger.record(new_sample(TODAY + days * DAY, ended_at=ledger.clock.now()))
        ledger.clock.advance(DAY.total_seconds())
    assert await ledger.stored() == []
    await ledger.run()
    assert await ledger.stored() == ledger.expected()
    assert len(await ledger.stored()) == 8


async def test_a_day_that_is_final_is_not_read_again() -> None:
    ledger = Ledger()
    await ledger.hours(72)
    faults = ledger.workers[0].faults
    faults.reset()
    await ledger.run()
    assert faults.calls.count(f"query {LATENCY}") == 2 * len(LatencyKind)


@pytest.mark.parametrize("days", [1, 2, 3, 10])
async def test_a_row_that_comes_late_is_not_lost(days: int) -> None:
    ledger = Ledger()
    await ledger.record(new_sample(TODAY))
    await ledger.hours(24 * days)
    await ledger.record(new_sample(TODAY))
    await ledger.hours(1)
    assert await ledger.stored() == ledger.expected()
    assert [each.count for each in await ledger.stored()] == [2]
    assert not await ledger.workers[0].rollups.late_days()


async def test_a_row_right_before_midnight_is_not_lost() -> None:
    ledger = Ledger()
    await ledger.hours(11)
    ledger.clock.advance(52 * 60)  # 23:59
    await ledger.record(new_sample(TODAY - DAY), new_sample(TODAY))
    await ledger.hours(1)
    assert await ledger.stored() == ledger.expected()


async def test_a_late_row_during_a_run_is_not_lost() -> None:
    async def raced(schedule: tuple[int, ...]) -> tuple[int, int]:
        ledger = Ledger()
        await ledger.record(new_sample(TODAY))
        await ledger.run()
        ledger.clock.advance(3 * DAY.total_seconds())
        await ledger.run()
        await ledger.record(new_sample(TODAY))
        faults = [each.faults for each in ledger.workers]
        late = partial(ledger.record, new_sample(TODAY), worker=1)
        _, calls = await interleaved([ledger.run, late], faults, schedule)
        await ledger.hours(1)
        assert await ledger.stored() == ledger.expected(), schedule
        assert not await ledger.workers[0].rollups.late_days()
        return calls

    for schedule in schedules(await raced(()), count=60, seed="late"):
        await raced(schedule)


async def test_two_workers_at_once_leave_the_same() -> None:
    async def made() -> Ledger:
        ledger = Ledger(RetentionSettings(latency_days=2))
        await ledger.record(*(new_sample(TODAY - days * DAY, cluster=name) for days in (0, 1) for name in "ab"))
        await ledger.run()
        await ledger.record(new_sample(TODAY, cluster="a"), new_sample(TODAY, cluster="c"))
        return ledger

    async def raced(schedule: tuple[int, ...]) -> tuple[int, int]:
        ledger = await made()
        late = new_sample(TODAY, cluster="b")  # between their looks

        async def second() -> None:
            await ledger.record(late, worker=1)
            await ledger.run(worker=1)

        faults = [each.faults for each in ledger.workers]
        results, calls = await interleaved([ledger.run, second], faults, schedule)
        assert results == [None, None]
        assert await ledger.stored() == ledger.expected(), schedule
        return calls

    for schedule in schedules(await raced(()), count=120, seed="two"):
        await raced(schedule)


async def test_an_unreadable_row_is_skipped(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    good = new_sample(TODAY)
    await ledger.record(good, broken := new_sample(TODAY))
    [key] = [key for key in ledger.storage.rows[LATENCY] if key[1] == broken.id]
    await ledger.storage.transact(LATENCY, [Upsert(ledger.storage.rows[LATENCY][key][0] | {"total_seconds": "?"})])
    await ledger.run()
    ledger.samples.remove(broken)
    assert await ledger.stored() == ledger.expected()
    assert "row skipped" in caplog.text


async def test_days_whose_rows_are_deleted_stay_as_they_are() -> None:
    ledger = Ledger(RetentionSettings(latency_days=5))
    await ledger.record(new_sample(TODAY))
    await ledger.run()
    before = await ledger.stored()
    purge = Retention(records=TableOldRecords(ledger.storage), clock=ledger.clock, settings=ledger.settings).purge
    ledger.clock.advance(20 * DAY.total_seconds())
    await purge(FakeWorkflows())
    assert not ledger.storage.rows[LATENCY]
    await ledger.record(new_sample(TODAY))  # much too late
    await ledger.run()
    assert await ledger.stored() == before
    assert not await ledger.workers[0].rollups.late_days()


async def test_a_clock_that_was_ahead_leaves_no_gap() -> None:
    ledger = Ledger()
    ledger.clock.step(30 * DAY.total_seconds())
    await ledger.run()
    ledger.clock.step(-30 * DAY.total_seconds())
    for days in range(5):
        await ledger.record(new_sample(TODAY + days * DAY, ended_at=ledger.clock.now()))
        ledger.clock.advance(DAY.total_seconds())
    await ledger.run()
    assert await ledger.stored() == ledger.expected()


async def test_a_run_without_tables_is_made_up_for() -> None:
    ledger = Ledger()
    await ledger.record(new_sample(TODAY))
    ledger.workers[0].faults.away = lambda name: Transient("away") if name == f"transact {TABLE}" else None
    with pytest.raises(Transient):
        await ledger.run()
    ledger.workers[0].faults.reset()
    ledger.clock.advance(10 * DAY.total_seconds())
    await ledger.run()
    assert await ledger.stored() == ledger.expected()


async def test_a_run_that_takes_too_long_is_continued(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    await ledger.record(*(new_sample(TODAY - days * DAY) for days in range(90)))

    def slow(name: str) -> None:
        if name == f"query {LATENCY}":
            ledger.clock.advance(MAX_SECONDS / 100)

    ledger.workers[0].faults.away = slow
    for _ in range(2):
        await ledger.run()
        assert await ledger.stored() != ledger.expected()
    assert "not all rolled up" in caplog.text
    for _ in range(5):
        await ledger.run()
    assert await ledger.stored() == ledger.expected()


EVENTS = st.one_of(
    st.tuples(st.just("pass"), st.integers(1, 60)),
    st.tuples(st.just("record"), st.integers(0, 100)),
    st.tuples(st.just("run"), st.integers(0, 1)),
    st.tuples(st.just("lose"), st.integers(1, 40)),
    st.tuples(st.just("fail"), st.integers(1, 40)),
)


@given(st.lists(EVENTS, max_size=20))
def test_any_history_ends_with_the_same_rows(history: list[tuple[str, int]]) -> None:
    async def play() -> None:
        ledger = Ledger(RetentionSettings(latency_days=40))
        first = ledger.workers[0]
        for event, number in history:
            match event:
                case "pass":
                    ledger.clock.advance(number * HOUR.total_seconds())
                case "record":  # of an operation that ended so many hours ago
                    ended = ledger.clock.now() - number * HOUR
                    await ledger.record(new_sample(ended.date(), ended_at=ended))
                case "run":
                    await ledger.run(worker=number)
                case "lose":  # the response to the n-th call
                    first.faults.lose(number)
                    await ledger.run()
                    first.faults.reset()
                case _:  # the n-th call
                    first.faults.fail(number, Transient("away"))
                    with suppress(Transient):
                        await ledger.run()
                    first.faults.reset()
        await ledger.run()
        assert await ledger.stored() == ledger.expected()

    asyncio.run(play())
