"""A sweep that breaks off anywhere, runs in two workers, or is delivered late: nothing is repeated or left out."""

import asyncio
import itertools

import pytest

from shared.adapters.tables import keys
from shared.application.advance_sweep import PAGE
from shared.domain.dormancy import Outcome
from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.operations import new_operation
from shared.domain.slugs import Slug
from shared.domain.sweeps import Action, Sweep, SweepState
from shared.errors import Transient
from tests.support.sweeping import DAY, Fleet, new_fleet

DORMANT = ["a", "b", "c", "d"]
ENDED = {Outcome.KEEP: 1, Outcome.HIBERNATE: 4}


async def small_fleet() -> tuple[Fleet, Sweep]:
    """Return a fleet whose sweep has begun, with more dormant tenants than may be put to sleep at once."""
    fleet = await new_fleet(DORMANT, workers=2, concurrency=3)
    await fleet.add("used", idle_days=2)
    sweep = await fleet.start()
    for each in fleet.workers:
        each.faults.reset()
    return fleet, sweep


async def count_of_calls() -> int:
    fleet, sweep = await small_fleet()
    fleet.workers.pop()
    await fleet.run(sweep)
    return len(fleet.worker.faults.calls)


async def ended_well(fleet: Fleet, sweep: Sweep) -> list[str]:
    """Return what is wrong with a sweep that had to end well."""
    sweep = await fleet.run(sweep)
    found = await fleet.decisions(sweep)
    problems: list[str] = []
    if (sweep.state, sweep.outcomes, sweep.actions) != (SweepState.DONE, ENDED, {Action.HIBERNATED: 4}):
        problems.append(f"it ended as {sweep}")
    if sorted(fleet.begun) != DORMANT:
        problems.append(f"these were put to sleep: {fleet.begun}")
    if sorted(found) != [*DORMANT, "used"]:
        problems.append(f"these have decisions: {sorted(found)}")
    if round(sum(each.saves for each in found.values()), 2) != sweep.saves:
        problems.append(f"it says that it saves {sweep.saves}")
    if await fleet.records.to_act(sweep.id):
        problems.append("an index row is left")
    for slug in DORMANT:
        if found[slug].operation_id != (await fleet.tenants.get(Slug(slug))).value.operation.id:
            problems.append(f"{slug} has the operation {found[slug].operation_id}")
    return problems


async def test_a_call_that_breaks_off_is_made_good() -> None:
    for number in range(1, await count_of_calls() + 1):
        fleet, sweep = await small_fleet()
        fleet.worker.faults.fail(number, Transient("on purpose"))
        if "cannot be decided" in str(await fleet.decisions(await fleet.run(sweep))):
            fleet.clock.advance(86400)  # that tenant is looked at by the next sweep
            await fleet.watch()
            await fleet.swept()
            assert sorted(fleet.begun) == DORMANT, f"call {number} failed"
        else:
            assert await ended_well(fleet, sweep) == [], f"call {number} failed"


async def test_a_page_that_breaks_off_between_its_parts_counts_once() -> None:
    slugs = [slug for slug in (Slug(f"t{number:04}") for number in range(20 * PAGE)) if keys.shard(slug) == "0"][:60]
    for number in range(2, 5):  # the heartbeat is the first write, the parts of the page are the next two
        fleet = await new_fleet(slugs, allocated=10_000)
        writes = iter(range(1, 1000))
        sweep = await fleet.start()
        fleet.worker.faults.away = lambda name, writes=writes, number=number: (
            Transient("on purpose") if name == "transact sweeps" and next(writes) == number else None
        )
        sweep = await fleet.run(sweep)
        assert sweep.outcomes == {Outcome.HIBERNATE: len(slugs)}, f"write {number} failed"
        assert sorted(fleet.begun) == sorted(await fleet.decisions(sweep)) == slugs


async def test_a_lost_response_is_made_good() -> None:
    for number in range(1, await count_of_calls() + 1):
        fleet, sweep = await small_fleet()
        fleet.worker.faults.lose(number)
        assert await ended_well(fleet, sweep) == [], f"the response of call {number} was lost"


async def test_a_worker_that_dies_is_replaced() -> None:
    for number in range(1, await count_of_calls() + 1):
        fleet, sweep = await small_fleet()
        dying, other = fleet.workers
        stall = dying.faults.stall(number, after=number % 2 == 0)
        fleet.workers = [dying]
        running = asyncio.create_task(fleet.run(sweep))
        await stall.reached_or_done(running)
        running.cancel()
        await asyncio.wait([running])
        fleet.workers = [other]
        assert await ended_well(fleet, sweep) == [], f"it died at call {number}"


@pytest.mark.parametrize("after", [False, True])
async def test_a_worker_that_stalls_harms_nothing(after: bool) -> None:
    for number in range(1, await count_of_calls() + 1):
        fleet, sweep = await small_fleet()
        slow, other = fleet.workers
        stall = slow.faults.stall(number, after=after)
        fleet.workers = [slow]
        late = asyncio.create_task(fleet.run(sweep))
        await stall.reached_or_done(late)
        fleet.workers = [other]
        assert await ended_well(fleet, sweep) == [], f"it stalled at call {number}"
        stall.release()
        await late
        assert await ended_well(fleet, sweep) == [], f"it went on after call {number}"


async def test_two_workers_at_the_same_time_harm_nothing() -> None:
    fleet, sweep = await small_fleet()
    one, two = fleet.workers
    while True:
        both = await asyncio.gather(*(each.advance.run(sweep.id, fleet.workflows) for each in (one, two)))
        if all(each.ended for each in both):
            break
        await fleet.end_hibernations()
        fleet.clock.advance(5)
    assert await ended_well(fleet, sweep) == []


@pytest.mark.parametrize("number", range(1, 8))
async def test_a_start_that_breaks_off_is_made_good(number: int) -> None:
    for is_lost in (True, False):
        fleet = await new_fleet(["acme"])
        if is_lost:
            fleet.worker.faults.lose(number)
        else:
            fleet.worker.faults.fail(number, Transient("on purpose"))
        try:
            await fleet.worker.sweeps.start_nightly(fleet.workflows)
        except Transient:
            await fleet.worker.sweeps.start_nightly(fleet.workflows)
        assert set(fleet.workflows.sweeps) == {"sweep-2026-02-28"}
        sweep = await fleet.run(await fleet.sweep(fleet.workflows.sweeps[0]))
        assert (sweep.state, fleet.begun) == (SweepState.DONE, ["acme"])


async def test_starts_at_the_same_time_make_one_sweep() -> None:
    fleet = await new_fleet(["acme"], workers=3)
    begun = await asyncio.gather(*(fleet.start(worker=number) for number in range(3)))
    assert len({each.id for each in begun}) == 1
    assert len((await fleet.records.list(limit=10, token="")).items) == 1


async def test_tables_that_are_away_hold_a_sweep_up() -> None:
    fleet, sweep = await small_fleet()
    fleet.worker.faults.away = lambda name: Transient("away", 7.0)
    progress = await fleet.worker.advance.run(sweep.id, fleet.workflows)
    assert (progress.ended, progress.wait) == (False, 7.0)
    fleet.worker.faults.reset()
    assert await ended_well(fleet, sweep) == []


async def test_a_tenant_that_keeps_failing_holds_up_no_other() -> None:
    fleet, sweep = await small_fleet()
    fleet.refuses["b"] = Transient("the task hub is away")
    sweep = await fleet.run(sweep)
    found = (await fleet.decisions(sweep))["b"]
    assert (sweep.state, sweep.actions) == (SweepState.DONE, {Action.HIBERNATED: 3, Action.FAILED: 1})
    assert (found.action, found.note) == (Action.FAILED, "the task hub is away")


async def test_a_late_call_puts_no_woken_tenant_to_sleep() -> None:
    fleet = await new_fleet(["acme"], workers=2)
    late, other = fleet.workers
    sweep = await fleet.start()

    async def meanwhile() -> None:
        """Let the other worker put the tenant to sleep, and somebody wake it."""
        fleet.workers = [other]
        await fleet.run(sweep)
        asleep = await fleet.tenants.get(Slug("acme"))
        now = fleet.clock.now()
        operation = new_operation(OperationKind.WAKE, Slug("acme"), actor="portal", now=now)
        woken = asleep.value.begin(operation, now).succeed(now, quarantine=DAY)
        await fleet.tenants.save(asleep.with_value(woken))

    late.hibernations.before = meanwhile
    await late.advance.run(sweep.id, fleet.workflows)
    assert fleet.begun == ["acme"]
    assert (await fleet.tenants.get(Slug("acme"))).value.state is TenantState.ACTIVE


async def test_what_was_read_long_ago_is_read_again() -> None:
    fleet = await new_fleet(["acme"])
    sweep = await fleet.start()
    fleet.worker.faults.away = lambda name: fleet.clock.advance(6) if name == "query sources" else None
    for _ in range(3):
        assert not (await fleet.worker.advance.run(sweep.id, fleet.workflows)).ended
    assert fleet.begun == []
    fleet.worker.faults.reset()
    assert (await fleet.run(sweep)).actions == {Action.HIBERNATED: 1}


def slugs_of_one_shard(count: int) -> list[str]:
    numbered = (f"t{number:05}" for number in itertools.count())
    return list(itertools.islice((each for each in numbered if keys.shard(Slug(each)) == "7"), count))


async def test_a_worker_that_dies_at_any_page_is_replaced() -> None:
    slugs = slugs_of_one_shard(2 * PAGE + 1)
    number = 0
    while True:
        number += 1
        fleet = await new_fleet(workers=2)
        for slug in slugs:
            await fleet.add(slug, idle_days=2)
        sweep = await fleet.start()
        dying, other = fleet.workers
        dying.faults.reset()
        stall = dying.faults.stall_nth(is_write, number, after=number % 2 == 0)
        fleet.workers = [dying]
        running = asyncio.create_task(fleet.run(sweep))
        await stall.reached_or_done(running)
        if running.done():
            break
        running.cancel()
        await asyncio.wait([running])
        fleet.workers = [other]
        sweep = await fleet.run(sweep)
        assert (sweep.state, sweep.outcomes) == (SweepState.DONE, {Outcome.KEEP: len(slugs)}), f"it died at {number}"
        assert sorted(await fleet.decisions(sweep)) == slugs
    assert number > 3 * 2  # three pages, each with its decisions and its due dates


def is_write(call: str) -> bool:
    """Whether a call writes: a worker that dies at a read has written what it had before."""
    return call.startswith("transact")


async def late_by_a_night(number: int, *, after: bool) -> None:
    """Let a worker stall until the next night's sweep has ended, and what was put to sleep was woken before."""
    fleet, sweep = await small_fleet()
    slow, other = fleet.workers
    stall = slow.faults.stall(number, after=after)
    fleet.workers = [slow]
    late = asyncio.create_task(fleet.run(sweep))
    await stall.reached_or_done(late)
    fleet.workers = [other]
    await fleet.run(sweep)
    for slug in DORMANT:
        stored = await fleet.tenants.get(Slug(slug))
        if stored.value.state is TenantState.HIBERNATED:
            now = fleet.clock.now()
            woken = stored.value.begin(
                new_operation(OperationKind.WAKE, Slug(slug), actor="portal", now=now), now
            ).succeed(now, quarantine=DAY)
            await fleet.tenants.save(stored.with_value(woken))
        await fleet.used(slug)
    fleet.clock.advance(86400)
    await fleet.watch()
    await fleet.swept()
    before = sorted(fleet.begun)
    stall.release()
    await late
    for each in (slow, other):  # and both are given the work of the first night once more
        assert (await each.advance.run(sweep.id, fleet.workflows)).ended
    assert sorted(fleet.begun) == before, f"it went on after call {number}"
    awake = {(await fleet.tenants.get(Slug(slug))).value.state for slug in DORMANT}
    assert awake == {TenantState.ACTIVE}, f"it went on after call {number}"


async def test_a_worker_that_is_late_by_a_night_harms_nothing() -> None:
    for number in range(1, await count_of_calls() + 1):
        await late_by_a_night(number, after=number % 2 == 0)
