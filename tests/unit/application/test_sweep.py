"""A sweep: what it decides, what it does about it, and what it leaves alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.adapters.tables.activity import TableActivityRepository
from shared.adapters.tables.keys import shard
from shared.application.advance_sweep import MAX_INTERVAL, PAGE
from shared.application.ports.stored import Stored
from shared.domain.activity import Watch
from shared.domain.dormancy import Outcome, Window
from shared.domain.lifecycle import TenantState
from shared.domain.operations import OperationState
from shared.domain.policy import PolicyOverride
from shared.domain.slugs import Slug
from shared.domain.sweeps import Action, SweepState
from shared.errors import Conflict, Permanent
from tests.support.builders import new_settings
from tests.support.sweeping import ACTIVITY, DAY, SOURCE, Fleet, new_fleet
from tests.support.world import PORTAL, new_world, violations

TRIAL_SAVES = 13.42
EXEMPT = PolicyOverride(exempt=True)


async def actions(fleet: Fleet) -> dict[str, Action]:
    """Run a sweep, and return what it did about each tenant."""
    return {slug: each.action for slug, each in (await fleet.decisions(await fleet.swept())).items()}


async def test_the_dormant_sleep_and_the_others_stay() -> None:
    fleet = await new_fleet(["dormant"])
    await fleet.add("used", idle_days=2)
    await fleet.add("young", idle_days=None, age_days=3)
    await fleet.add("exempt", plan="standard")
    sweep = await fleet.swept()
    assert sweep.state is SweepState.DONE
    assert fleet.begun == ["dormant"]
    assert sweep.outcomes == {Outcome.KEEP: 3, Outcome.HIBERNATE: 1}
    assert (sweep.actions, sweep.saves) == ({Action.HIBERNATED: 1}, TRIAL_SAVES)
    found = await fleet.decisions(sweep)
    assert sorted(found) == ["dormant", "exempt", "used", "young"]
    assert found["dormant"].reason == "it was last used 30.0 days ago (heartbeat), and 7 days are allowed"
    assert found["dormant"].operation_id == (await fleet.tenants.get(Slug("dormant"))).value.operation.id
    assert (
        found["used"].reason == "it was last used 2.0 days ago (heartbeat); it may sleep from 2026-03-05 12:15 UTC on"
    )
    assert (found["used"].action, found["used"].saves) == (Action.NONE, 0.0)


async def test_those_that_stay_are_due_again_in_time() -> None:
    fleet = await new_fleet()
    await fleet.add("used", idle_days=2)
    await fleet.add("exempt", plan="standard")
    sweep = await fleet.swept()
    found = await fleet.decisions(sweep)
    assert found["used"].next_due == found["used"].due_at
    assert found["exempt"].next_due == sweep.start.started_at + MAX_INTERVAL  # for a change of the plans' document
    assert len(fleet.due_keys()) == 2
    fleet.clock.advance(86400)
    assert (await fleet.swept()).outcomes == {}
    fleet.clock.advance(5 * 86400)
    await fleet.watch()
    await fleet.swept()
    assert fleet.begun == ["used"]


async def test_a_row_of_an_earlier_state_goes() -> None:
    fleet = await new_fleet(["dormant"])
    await fleet.swept()
    assert len(fleet.due_keys()) == 1
    fleet.clock.advance(86400)
    assert (await fleet.swept()).outcomes == {}
    assert fleet.due_keys() == []


async def test_a_deleted_tenant_has_no_decision() -> None:
    fleet = await new_fleet(["gone"])
    del fleet.storage.rows["tenants"][next(key for key in fleet.storage.rows["tenants"] if key[1] == "tenant:gone")]
    assert (await fleet.swept()).outcomes == {}
    assert fleet.due_keys() == []


async def test_a_dry_run_changes_nothing() -> None:
    fleet = await new_fleet(["a", "b"])
    await fleet.add("used", idle_days=2)
    before = dict(fleet.storage.rows["tenants"])
    sweep = await fleet.swept(dry_run=True)
    assert (sweep.state, sweep.outcomes) == (SweepState.DONE, {Outcome.KEEP: 1, Outcome.HIBERNATE: 2})
    assert (sweep.actions, sweep.saves) == ({}, 2 * TRIAL_SAVES)
    assert fleet.storage.rows["tenants"] == before
    assert fleet.begun == []
    await fleet.swept()
    assert sorted(fleet.begun) == ["a", "b"]


async def test_many_pages_and_shards_are_all_looked_at() -> None:
    slugs = [f"t{number:04}" for number in range(6 * PAGE)]
    fleet = await new_fleet(slugs, max_share=1, concurrency=20, allocated=10_000)
    fleet.ends = None
    sweep = await fleet.swept(dry_run=True)
    assert sweep.to_hibernate == len(slugs)
    assert sorted(await fleet.decisions(sweep)) == slugs


async def test_no_more_run_at_once_than_the_setting() -> None:
    fleet = await new_fleet([f"t{number}" for number in range(25)], concurrency=4)
    sweep, most = await fleet.start(), 0
    while not (await fleet.worker.advance.run(sweep.id, fleet.workflows)).ended:
        states = [(await fleet.tenants.get(Slug(slug))).value.operation.is_open for slug in fleet.begun]
        most = max(most, sum(states))
        await fleet.end_hibernations()
    assert most == 4
    assert len(fleet.begun) == 25


async def test_activity_before_its_turn_keeps_a_tenant() -> None:
    fleet = await new_fleet(["a", "b"], concurrency=1)
    sweep = await fleet.start()
    fleet.ends = None
    await fleet.worker.advance.run(sweep.id, fleet.workflows)  # decides, and begins with the first
    first = fleet.begun[0]
    second = "b" if first == "a" else "a"
    await fleet.used(second)
    fleet.ends = OperationState.SUCCEEDED
    sweep = await fleet.run(sweep)
    found = await fleet.decisions(sweep)
    assert fleet.begun == [first]
    assert (found[second].action, found[second].saves) == (Action.KEPT, 0.0)
    assert found[second].note == "it was last used 0.0 days ago (heartbeat); it may sleep from 2026-03-07 12:15 UTC on"
    assert (sweep.actions, sweep.saves) == ({Action.HIBERNATED: 1, Action.KEPT: 1}, TRIAL_SAVES)


async def test_an_operation_before_its_turn_keeps_a_tenant() -> None:
    fleet = await new_fleet(["acme"])
    fleet.refuses["acme"] = Conflict("acme is busy: operation acme.1 (delete) is running")
    found = (await fleet.decisions(await fleet.swept()))["acme"]
    assert (found.action, found.note) == (Action.KEPT, "acme is busy: operation acme.1 (delete) is running")


async def test_a_policy_that_comes_at_the_last_moment_holds() -> None:
    fleet = await new_fleet(["acme"])

    async def exempt() -> None:
        stored = await fleet.tenants.get(Slug("acme"))
        at = stored.value.changed_at + timedelta(milliseconds=1)
        await fleet.tenants.save(stored.with_value(replace(stored.value, policy=EXEMPT, changed_at=at)))

    fleet.worker.hibernations.before = exempt
    found = (await fleet.decisions(await fleet.swept()))["acme"]
    assert (found.action, found.note, fleet.begun) == (Action.KEPT, "acme was changed after it was decided on", [])


@pytest.mark.parametrize("error", [Permanent("the row was refused"), ValueError("on purpose")])
async def test_one_failure_stops_no_other(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    fleet = await new_fleet(["a", "b", "c"])
    fleet.refuses["b"] = error
    sweep = await fleet.swept()
    assert sweep.state is SweepState.DONE
    assert (sweep.actions, sorted(fleet.begun)) == ({Action.HIBERNATED: 2, Action.FAILED: 1}, ["a", "c"])
    assert (await fleet.decisions(sweep))["b"].note in ("the row was refused", "ValueError")
    assert "not hibernated tenant=b" in caplog.text or "not hibernated sweep" in caplog.text
    fleet.refuses.clear()
    fleet.clock.advance(86400)
    await fleet.watch()
    await fleet.swept()
    assert fleet.begun[2:] == ["b"]  # it stayed due


@pytest.mark.parametrize(
    ("state", "action"),
    [(OperationState.FAILED, Action.FAILED), (OperationState.CANCELLED, Action.TURNED_ROUND)],
)
async def test_how_a_hibernation_ends_is_recorded(state: OperationState, action: Action) -> None:
    fleet = await new_fleet(["acme"])
    fleet.ends = state
    sweep = await fleet.swept()
    assert (sweep.state, sweep.actions, sweep.saves) == (SweepState.DONE, {action: 1}, 0.0)


async def test_a_tenant_that_cannot_be_read_is_unknown() -> None:
    fleet = await new_fleet(["bad", "good"])
    for key, (row, etag) in list(fleet.storage.rows["tenants"].items()):
        if key[1] == "tenant:bad":
            fleet.storage.rows["tenants"][key] = {**row, "schema_version": 99}, etag
    sweep = await fleet.swept()
    assert (sweep.outcomes, fleet.begun) == ({Outcome.UNKNOWN: 1, Outcome.HIBERNATE: 1}, ["good"])
    assert (await fleet.decisions(sweep))["bad"].reason.startswith("it cannot be decided: the row tenant:bad")
    assert len(fleet.due_keys()) == 2  # both stay due


async def test_a_tenant_without_its_plan_is_unknown() -> None:
    fleet = await new_fleet()
    await fleet.add("acme", plan="gold")
    found = (await fleet.decisions(await fleet.swept()))["acme"]
    assert (found.outcome, found.reason) == (Outcome.UNKNOWN, "there is no plan gold any more")


async def test_one_change_makes_one_row_of_a_tenant() -> None:
    fleet = await new_fleet()
    tenant = await fleet.add("acme", idle_days=2)
    await fleet.swept()
    stored = await fleet.tenants.get(Slug("acme"))
    await fleet.tenants.save(Stored(replace(tenant, observed=None), stored.etag))  # no transition
    assert len(fleet.due_keys()) == 1


@pytest.mark.parametrize(
    "now",
    [
        datetime(2028, 2, 29, 2, 30, tzinfo=UTC),
        datetime(2026, 3, 29, 1, 30, tzinfo=UTC),  # when clocks go forward in Europe
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),  # and back
        datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
)
async def test_no_day_of_the_calendar_is_special(now: datetime) -> None:
    fleet = await new_fleet()
    fleet.clock.step((now - fleet.clock.now()).total_seconds())
    await fleet.watch()
    await fleet.add("idle", idle_days=7.02)
    await fleet.add("used", idle_days=6.9)
    assert await actions(fleet) == {"idle": Action.HIBERNATED, "used": Action.NONE}


async def test_what_is_due_later_is_not_read() -> None:
    fleet = await new_fleet()
    for number in range(50):
        await fleet.add(f"used-{number}", idle_days=1)
    await fleet.swept()
    fleet.clock.advance(86400)
    await fleet.watch()
    fleet.worker.faults.reset()
    assert (await fleet.swept()).outcomes == {}
    calls = fleet.worker.faults.calls
    assert calls.count("query tenants") == 16
    assert len(calls) <= 16 + 24


async def test_the_cost_follows_what_is_due() -> None:
    fleet = await new_fleet(allocated=10_000)
    for number in range(2000):
        row = {"PartitionKey": f"{number % 16:x}", "RowKey": f"due:209901010000:other-{number}", "slug": "x"}
        fleet.storage.rows.setdefault("tenants", {})[row["PartitionKey"], row["RowKey"]] = row, "1"
    for number in range(50):
        await fleet.add(f"used-{number}", idle_days=1)
    fleet.worker.faults.reset()
    assert (await fleet.swept()).outcomes == {Outcome.KEEP: 50}
    calls = fleet.worker.faults.calls
    assert calls.count("query tenants") == 50 + 16  # each tenant with its activity, and the index of each shard
    assert calls.count("get tenants") == 0
    assert len(calls) <= 50 + 3 * 16 + 24  # each shard has a page of its own


async def test_a_full_page_costs_little_beside_its_tenants() -> None:
    fleet = await new_fleet(allocated=10_000)
    slugs = [Slug(f"t{number:04}") for number in range(20 * PAGE)]
    in_one_shard = [each for each in slugs if shard(each) == "0"][:PAGE]
    for slug in in_one_shard:
        await fleet.add(slug, idle_days=1)
    fleet.worker.faults.reset()
    assert (await fleet.swept()).outcomes == {Outcome.KEEP: PAGE}
    # Beside each tenant: its page, the decisions, and twice the new due dates.
    assert len(fleet.worker.faults.calls) <= PAGE + 4 + 16 + 24


async def test_a_page_of_dormant_tenants_is_written_in_parts() -> None:
    fleet = await new_fleet(allocated=10_000)
    in_one_shard = [slug for slug in (Slug(f"t{number:04}") for number in range(20 * PAGE)) if shard(slug) == "0"]
    for slug in in_one_shard[:PAGE]:
        await fleet.add(slug, idle_days=30 if int(slug[1:]) % 3 else 1)
    sweep = await fleet.swept()
    found = await fleet.decisions(sweep)
    assert sorted(found) == in_one_shard[:PAGE]
    assert sum(sweep.outcomes.values()) == PAGE
    assert sweep.actions == {Action.HIBERNATED: len(fleet.begun)}
    assert sorted(fleet.begun) == [slug for slug in sorted(found) if int(slug[1:]) % 3]


async def test_a_sweep_that_does_not_end_is_stopped() -> None:
    fleet = await new_fleet(["acme"])
    fleet.ends = None
    sweep = await fleet.start()
    await fleet.worker.advance.run(sweep.id, fleet.workflows)
    fleet.clock.advance(timedelta(hours=21).total_seconds())
    sweep = await fleet.run(sweep)
    assert (sweep.state, sweep.reason) == (SweepState.STOPPED, "it had not ended after 20 hours")
    assert (await fleet.decisions(sweep))["acme"].action is Action.BEGUN


async def test_a_swept_tenant_sleeps_and_can_be_woken() -> None:
    world = await new_world(settings=new_settings().model_copy(update={"activity": ACTIVITY}))
    await world.active()
    world.clock.advance(15 * 86400)
    window = Window(world.clock.now() - 20 * DAY, world.clock.now())
    await TableActivityRepository(world.storage).save_watch(Stored(Watch(SOURCE, "", window)))
    await world.worker.sweeps.start_nightly(world.workflows)
    (sweep_id,) = world.workflows.sweeps
    while not (progress := await world.worker.advance_sweep.run(sweep_id, world.workflows)).ended:
        await world.run(until=world.clock.monotonic() + progress.wait)
        world.clock.advance(progress.wait)
    assert (await world.tenant()).state is TenantState.HIBERNATED
    assert (await world.worker.sweeps.get(sweep_id)).actions == {Action.HIBERNATED: 1}
    await world.worker.wake.wake(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, await violations(world)) == (TenantState.ACTIVE, [])
    due = [row for (_, key), (row, _) in world.storage.rows["tenants"].items() if key.startswith("due:")]
    assert [row["since"] for row in due][-1] == tenant.changed_at.isoformat()
