"""The sweeps in the tables: conditions, atomicity, lists, lost responses, and what is purged."""

from dataclasses import replace
from datetime import timedelta
from secrets import token_hex

import pytest

from shared.adapters.tables.retention import TableOldRecords
from shared.adapters.tables.storage import TableStorage
from shared.adapters.tables.sweeps import TableSweepRepository
from shared.application.ports.stored import Stored
from shared.domain.dormancy import Outcome
from shared.domain.slugs import Slug
from shared.domain.sweeps import Action, Position, Sweep, SweepDecision, SweepId, SweepStart, SweepState
from shared.errors import Conflict, Invalid
from tests.support.builders import new_slug
from tests.support.clock import START
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables


@pytest.fixture
def sweeps(storage: TableStorage) -> TableSweepRepository:
    return TableSweepRepository(storage)


def new_start(**fields: object) -> SweepStart:
    """Return the start of a sweep that no other test has."""
    usual = SweepStart(SweepId(f"sweep-{token_hex(6)}"), dry_run=False, actor="portal", started_at=START)
    return replace(usual, **fields)  # type: ignore[arg-type]


def decision(slug: str = "", action: Action = Action.PENDING, outcome: Outcome = Outcome.HIBERNATE) -> SweepDecision:
    return SweepDecision(
        Slug(slug) if slug else new_slug(),
        "trial",
        outcome,
        "it was last used 8.0 days ago (portal)",
        START,
        last_activity_at=START - timedelta(days=8),
        seen_by="portal",
        threshold_days=7,
        due_at=START,
        action=action,
        saves=13.42,
        weight=1,
    )


async def listed(sweeps: TableSweepRepository, sweep: Sweep, outcome: Outcome | None = None) -> list[SweepDecision]:
    """Return the decisions of a sweep, read in pages of two."""
    found: list[SweepDecision] = []
    token = ""
    while True:
        page = await sweeps.decisions(sweep.id, outcome, limit=2, token=token)
        found += page.items
        token = page.next_token
        if not token:
            return found


async def test_what_all_share_changes_under_a_condition(sweeps: TableSweepRepository) -> None:
    before = await sweeps.control()
    start = new_start()
    begun = before.value.beginning(start)
    await sweeps.save_control(before.with_value(begun), start)
    with pytest.raises(Conflict):
        await sweeps.save_control(before.with_value(replace(before.value, enabled=False)))
    after = await sweeps.control()
    assert after.value == begun
    await sweeps.save_control(after.with_value(replace(begun, enabled=True, stopped_by="portal")))
    assert (await sweeps.control()).value.why_stop(start) == "stopped by portal"


async def test_a_sweep_is_made_once(sweeps: TableSweepRepository) -> None:
    start = new_start(after=START - timedelta(days=1))
    first = await sweeps.create(start)
    assert first.value == Sweep(start, heartbeat_at=START)
    assert await sweeps.create(start) == first
    assert await sweeps.find(start.id) == first
    assert await sweeps.find(new_start().id) is None


async def test_a_sweep_and_its_decisions_change_together(sweeps: TableSweepRepository) -> None:
    stored = await sweeps.create(new_start())
    decisions = [decision(f"t{number:03}") for number in range(49)]  # as many as one transaction holds
    decided = stored.value.decided(decisions, Position(3, "due:x"), START)
    saved = await sweeps.save(stored.with_value(decided), decided=decisions)
    assert await sweeps.find(decided.id) == saved
    with pytest.raises(Conflict):
        await sweeps.save(stored, decided=[decision("late")])
    assert await listed(sweeps, decided) == decisions
    assert await sweeps.to_act(decided.id) == decisions
    done = [replace(decisions[0], action=Action.BEGUN), replace(decisions[1], action=Action.KEPT, note="used")]
    await sweeps.save(saved, acted=done)
    assert await listed(sweeps, decided) == [*done, *decisions[2:]]
    assert await sweeps.to_act(decided.id) == [done[0], *decisions[2:]]


async def test_a_lost_response_is_no_conflict(faulty: FaultyTables, faults: Faults) -> None:
    sweeps = TableSweepRepository(faulty)
    stored = await sweeps.create(new_start())
    faults.reset()
    faults.lose(1)
    saved = await sweeps.save(stored.with_value(stored.value.ended(SweepState.DONE, START)), decided=[decision()])
    assert await sweeps.find(stored.value.id) == saved


async def test_decisions_are_listed_by_outcome(sweeps: TableSweepRepository) -> None:
    stored = await sweeps.create(new_start())
    kept = [decision(f"k{number}", Action.NONE, Outcome.KEEP) for number in range(3)]
    await sweeps.save(stored, decided=[*kept, decision("dormant")])
    assert await listed(sweeps, stored.value, Outcome.KEEP) == kept
    assert len(await listed(sweeps, stored.value)) == 4
    assert [each.slug for each in await sweeps.to_act(stored.value.id)] == ["dormant"]
    with pytest.raises(Invalid, match="not the `next`"):
        await sweeps.decisions(stored.value.id, None, limit=2, token="x")


async def test_sweeps_are_listed_newest_first_and_purged(storage: TableStorage, sweeps: TableSweepRepository) -> None:
    began = [START + timedelta(days=1000 + number) for number in range(3)]
    starts = [new_start(started_at=each) for each in began]
    for start in starts:
        control = await sweeps.control()
        await sweeps.save_control(control, start)
        await sweeps.save(await sweeps.create(start), decided=[decision() for _ in range(3)])

    async def found() -> list[SweepId]:
        ids: list[SweepId] = []
        token = ""
        while True:
            page = await sweeps.list(limit=2, token=token)
            ids += [each.id for each in page.items if each.start in starts]
            token = page.next_token
            if not token:
                return ids

    assert await found() == [each.id for each in reversed(starts)]
    counts = [each async for each in TableOldRecords(storage).purge_sweeps(before=began[1])]
    assert sum(counts) >= 1 + 2 * 3 + 1  # the sweep, its decisions with their index rows, and its place
    assert await found() == [starts[2].id, starts[1].id]
    assert await sweeps.find(starts[0].id) is None
    assert await listed(sweeps, Sweep(starts[0], START)) == []
    assert len(await listed(sweeps, Sweep(starts[1], START))) == 3


async def test_when_a_sweep_was_written(storage: TableStorage, sweeps: TableSweepRepository) -> None:
    stored: Stored[Sweep] = await sweeps.create(new_start())
    assert await sweeps.written_at(stored.value.id) == await storage.written_at("sweeps", stored.value.id, "progress")
