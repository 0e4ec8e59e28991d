"""Metering: the same rows, however often, however late, and by however many workers."""

import asyncio
import contextlib
import logging
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.adapters.tables import keys
from shared.adapters.tables.costs import DAILY, TABLE, TODAY
from shared.adapters.tables.tenants import TABLE as TENANTS
from shared.domain.slugs import Slug
from shared.domain.uses import Use
from shared.errors import Transient
from shared.telemetry import metrics
from tests.support.ledger import (
    FIRST,
    FIRST_DAY,
    HISTORY,
    NODE_COMPONENTS,
    Ledger,
    days,
    final_rows,
    new_ledger,
    of_cluster,
    of_tenant,
    play,
    use,
)
from tests.support.recorded_telemetry import recorded_telemetry

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ZERO = Decimal(0)
SLUGS = ("acme", "acme-2", "acme17", "beta", "delta")  # the first three in one shard, whose row keys sort otherwise


async def test_a_lost_month_is_caught_up() -> None:
    often, once = await new_ledger(), await new_ledger()
    for held in (often, once):
        await play(held, HISTORY)
    for hour in range(0, 40 * 24, 7):
        await often.meter_at(FIRST + hour * HOUR)
    await often.meter_at(FIRST + 40 * DAY)
    await once.meter_at(FIRST + 40 * DAY)
    assert final_rows(often) == final_rows(once)


async def over_budget() -> Ledger:
    """Return a ledger with a tenant that passes its budget on the first day."""
    held = await new_ledger()
    held.has_nodes(40)
    await held.log.change("acme", FIRST, use())
    await held.meter_at(FIRST)  # which sees the nodes
    held.faults.reset()
    return held


async def test_a_budget_is_told_of_once_whatever_fails(caplog: pytest.LogCaptureFixture) -> None:
    ends = FIRST + DAY + 2 * HOUR
    held = await over_budget()
    await held.meter_at(ends)
    writes = [number for number, call in enumerate(held.faults.calls, 1) if call == f"transact {DAILY}"]
    assert len(writes) == 4  # the time, the sums of the day, that it is final, the sums of the day so far
    for number in writes:
        for is_done in (True, False):
            held = await over_budget()
            if is_done:
                held.faults.lose(number)
            else:
                held.faults.fail(number, Transient("the tables do not respond"))
            caplog.clear()
            with recorded_telemetry() as told:
                with contextlib.suppress(Transient):
                    await held.meter_at(ends)
                await held.meter_at(ends + HOUR)
            [event] = [each for each in caplog.messages if each.startswith("budget passed")]
            assert event.startswith("budget passed tenant=acme plan=trial budget=10")
            assert told.values(metrics.BUDGET_PASSED, plan="trial") == [1]


async def test_a_run_that_has_no_time_left_goes_on_later() -> None:
    held, once = await new_ledger(), await new_ledger()
    for each in (held, once):
        await play(each, HISTORY)

    async def slow() -> None:
        held.clock.advance(2)  # for each call: so a run ends after a few days

    held.faults.turn = slow
    for _ in range(40):
        with contextlib.suppress(Transient):  # which ends a day that was begun too late; it is begun again
            await held.meter_at(FIRST + 20 * DAY)
    await once.meter_at(FIRST + 20 * DAY)
    assert final_rows(held) == final_rows(once)


@pytest.mark.parametrize("after", [use(awake=False), None], ids=["asleep", "deleted"])
@pytest.mark.parametrize("hours", [26, 75, 400])
async def test_a_late_transition_is_counted_later(after: Use | None, hours: int) -> None:
    held, prompt = await new_ledger(), await new_ledger()
    for each in (held, prompt):
        await each.log.change("acme", FIRST, use())
        await each.log.change("beta", FIRST, use())
        await each.log.change("beta", FIRST + 40 * HOUR, use(awake=False))
    for hour in range(0, hours, 13):
        await held.meter_at(FIRST + hour * HOUR)
    late = FIRST + 23 * HOUR
    for each in (held, prompt):
        await each.log.change("acme", late, after)
        await each.meter_at(FIRST + hours * HOUR + 2 * DAY)
    assert final_rows(held) == final_rows(prompt)
    [first, *_] = await of_tenant(held, "acme")
    assert first.own.awake == 23


async def test_an_instance_that_was_replaced_ends_late_too() -> None:
    held, prompt = await new_ledger(), await new_ledger()
    for each in (held, prompt):
        await each.log.change("acme", FIRST, use())
    await held.meter_at(FIRST + 3 * DAY)
    for each in (held, prompt):
        await each.log.change("acme", FIRST + 30 * HOUR, None)
        await each.log.change("acme", FIRST + 80 * HOUR, use(), instance="second")
        await each.meter_at(FIRST + 5 * DAY)
        await each.meter_at(FIRST + 6 * DAY)
    assert final_rows(held) == final_rows(prompt)
    assert [each.own.awake for each in await of_tenant(held, "acme", 4)] == [24, 6, 16]


async def test_a_transition_that_is_missing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use())
    gone = await held.log.change("acme", FIRST + 30 * HOUR, use(awake=False))
    assert gone is not None
    await held.log.change("acme", FIRST + 60 * HOUR, use(plan="standard"))
    rows = held.storage.rows[TENANTS]
    for key in [key for key in rows if key[1].endswith(":00000002")]:
        del rows[key]
    with caplog.at_level(logging.ERROR):
        await held.meter_at(FIRST + 4 * DAY)
    assert [each.getMessage() for each in caplog.records] == ["ledger gap tenant=acme day=2026-04-01"]
    third = (await of_tenant(held, "acme"))[2]
    assert (third.own.asleep, third.own.awake) == (12, 12)  # by what the next one says was before it


@pytest.mark.parametrize("table", [TENANTS, TABLE, DAILY])
async def test_a_row_of_another_version_holds_metering_up(table: str) -> None:
    held = await new_ledger()
    await held.log.change("acme", FIRST, use())
    await held.log.change("beta", FIRST, use())
    await held.meter_at(FIRST + DAY + 2 * HOUR)
    before = final_rows(held)
    kept = dict(held.storage.rows[table])
    for key, (row, etag) in kept.items():
        held.storage.rows[table][key] = ({**row, "schema_version": 99}, etag)
    with pytest.raises(Transient, match="another version of berth"):
        await held.meter_at(FIRST + 3 * DAY)
    held.storage.rows[table] = kept
    assert final_rows(held) == before
    await held.meter_at(FIRST + 3 * DAY)
    assert (await held.ledger.last_final()).value == FIRST_DAY + DAY


async def test_a_late_worker_writes_over_no_final_day() -> None:
    held = await new_ledger()
    await play(held, HISTORY[:3])
    late = held.another_worker()
    stall = late.faults.stall_next(f"transact {TODAY}")
    task = asyncio.create_task(late.meter_at(FIRST + 20 * HOUR))
    await stall.reached_or_done(task)
    await held.meter_at(FIRST + 3 * DAY)
    before = final_rows(held)
    found = await of_tenant(held, "acme", 1)
    stall.release()
    with pytest.raises(Transient, match="took too long"):
        await task
    assert final_rows(held) == before
    assert await of_tenant(held, "acme", 1) == found


async def test_a_worker_that_was_held_up_for_days_writes_nothing() -> None:
    held = await new_ledger()
    await play(held, HISTORY[:2])
    late = held.another_worker()
    stall = late.faults.stall_next("query costs")
    task = asyncio.create_task(late.meter_at(FIRST + DAY + 2 * HOUR))
    await stall.reached_or_done(task)
    await held.log.change("acme", FIRST + 12 * HOUR, use(awake=False))
    await held.meter_at(FIRST + 4 * DAY)
    before = final_rows(held)
    stall.release()
    with pytest.raises(Transient, match="took too long"):
        await task
    assert final_rows(held) == before


async def test_a_worker_whose_clock_is_ahead_makes_nothing_final() -> None:
    held = await new_ledger()
    await play(held, HISTORY[:3])
    tables = held.storage.ahead
    held.storage.ahead = -30 * DAY  # as the tables see it, the worker is a month ahead
    await held.meter_at(FIRST + 32 * DAY)
    held.storage.ahead = tables
    assert (await held.ledger.last_final()).value == FIRST_DAY


async def test_a_day_that_is_final_too_early_does_not_count() -> None:
    held, right = await new_ledger(), await new_ledger()
    for each in (held, right):
        await play(each, HISTORY[:3])
    await held.meter_at(FIRST + 30 * DAY)
    await held.meter_at(FIRST + 4 * DAY)
    assert (await held.ledger.last_final()).value == FIRST_DAY + 2 * DAY
    await held.meter_at(FIRST + 31 * DAY)
    await right.meter_at(FIRST + 31 * DAY)
    assert final_rows(held) == final_rows(right)


async def test_a_transition_between_the_passes_ends_the_run() -> None:
    held = await new_ledger()
    held.has_nodes(2)
    await held.log.change("acme", FIRST, use())
    await held.meter_at(FIRST + DAY + 2 * HOUR)
    slug = next(each for number in range(100) if keys.shard(Slug(each := f"s{number}")) == keys.SHARDS[0])
    stall = held.faults.stall_nth(lambda name: name == "query tenants", len(keys.SHARDS) + 1)  # the second pass begins
    task = asyncio.create_task(held.meter_at(FIRST + DAY + 20 * HOUR))
    await stall.reached_or_done(task)
    await held.log.change(slug, FIRST + DAY + HOUR, use())
    stall.release()
    with pytest.raises(Transient, match="a transition was written"):
        await task
    await held.meter_at(FIRST + DAY + 21 * HOUR)
    cluster = (await of_cluster(held))[-1]
    nodes = [sum((each.costs.get(name, ZERO) for name in NODE_COMPONENTS), ZERO) for each in cluster.plans.values()]
    assert (sum(nodes, ZERO), cluster.plans["trial"].awake) == (cluster.nodes, 2)


moments = st.integers(0, 5 * 24 * 60)  # minutes
after = st.sampled_from([use(), use(awake=False), use(plan="standard"), use(version="2.0.0"), None])


class Change(NamedTuple):
    """What happens to a tenant."""

    minute: int
    slug: str
    after: Use | None


class Run(NamedTuple):
    """One run of a worker's timer, and the number of its call that fails; for 0 none does."""

    minute: int
    worker: int
    fails: int


changes = st.lists(st.builds(Change, moments, st.sampled_from(SLUGS), after), max_size=15)
runs = st.lists(st.builds(Run, moments, st.integers(0, 1), st.integers(0, 60)), max_size=12)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(changes, runs, st.integers(1, 3))
def test_crashes_and_two_workers_leave_the_same_rows(wanted: list[Change], metered: list[Run], nodes: int) -> None:
    """Runs that break off at any call, of two workers, and one run at the end from the log alone give the same."""

    async def histories() -> None:
        end = FIRST + 8 * DAY
        held, rebuilt = await new_ledger(), await new_ledger()
        workers = [held, held.another_worker()]
        for each in (*workers, rebuilt):
            each.has_nodes(nodes)
        # The nodes are seen before anything happens, because when a run sees them is part of what it finds.
        for each in (held, rebuilt):
            await each.meter_at(FIRST)
        events = [*wanted, *metered]
        for event in sorted(events, key=lambda each: each[0]):
            at = FIRST + event[0] * HOUR / 60
            if isinstance(event, Run):
                await break_off(workers[event.worker], at, event.fails)
            else:
                await held.log.change(event.slug, at, event.after)
                await rebuilt.log.change(event.slug, at, event.after)
        await asyncio.gather(*(each.meter_at(end) for each in workers))
        await rebuilt.meter_at(end)
        assert final_rows(held) == final_rows(rebuilt)
        await check(rebuilt, wanted)

    asyncio.run(histories())


async def break_off(held: Ledger, at: datetime, fails: int) -> None:
    """Run the timer, and let a call fail; for 0 none does."""
    held.faults.reset()
    if fails:
        held.faults.fail(fails, Transient("the tables do not respond"))
    with contextlib.suppress(Transient):
        await held.meter_at(at)
    held.faults.reset()


async def check(held: Ledger, wanted: list[Change]) -> None:
    """Compare the hours with an oracle that looks at each minute, and the sums with the rows."""
    awake: dict[tuple[str, date], int] = {}
    for slug in SLUGS:
        log = sorted((each for each in wanted if each.slug == slug), key=lambda each: each.minute)
        for minute in range(7 * 24 * 60):
            uses = [each.after for each in log if each.minute <= minute]
            if uses and uses[-1] is not None and uses[-1].awake:
                day = (FIRST + minute * HOUR / 60).date()
                awake[slug, day] = awake.get((slug, day), 0) + 1
    clusters = {each.day: each for each in await of_cluster(held, 7)}
    for day in days(FIRST_DAY, 7):
        found = [row for slug in SLUGS for row in await held.ledger.of_tenant(Slug(slug), [day])]
        for row in found:
            assert abs(row.own.awake * 60 - awake.get((row.slug, day), 0)) < Decimal("1e-6")
        assert {row.slug for row in found} >= {slug for slug, each in awake if each == day}
        if found:
            sums = clusters[day].plans.values()
            assert sum((each.total for each in sums), ZERO) == sum((row.total for row in found), ZERO)
