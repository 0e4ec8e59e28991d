"""The guard rails of a sweep: caps, silent sources, clocks, switches, and joining the one that runs."""

import logging
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.dormancy import Outcome
from shared.domain.operations import OperationState
from shared.domain.slugs import Slug
from shared.domain.sweeps import Action, Sweep, SweepState
from shared.errors import Conflict, NotFound
from shared.settings import ActivitySettings
from tests.support.sweeping import MINUTE, Fleet, new_fleet

TEN = [f"t{number}" for number in range(10)]


async def refused(fleet: Fleet, caplog: pytest.LogCaptureFixture, *, dry_run: bool = False) -> Sweep:
    """Run a sweep that must be refused, with an error in the log, and must put nobody to sleep."""
    sweep = await fleet.swept(dry_run=dry_run)
    assert sweep.state is SweepState.REFUSED
    assert fleet.begun == []
    assert any(each.levelno == logging.ERROR and "sweep refused" in each.getMessage() for each in caplog.records)
    return sweep


async def test_more_than_the_share_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    fleet = await new_fleet(TEN, allocated=49)
    sweep = await refused(fleet, caplog)
    assert sweep.reason == (
        "10 tenants look dormant, with a weight of 10 of the 49 that are awake, "
        "and at most 20 % may be put to sleep at once"
    )
    assert len(await fleet.decisions(sweep)) == 10  # with their reasons


async def test_the_share_itself_is_not_refused() -> None:
    fleet = await new_fleet(TEN, allocated=50)
    assert (await fleet.swept()).actions == {Action.HIBERNATED: 10}


async def test_the_share_is_that_of_weights() -> None:
    fleet = await new_fleet(["a", "b"], allocated=20)
    assert (await fleet.swept()).actions == {Action.HIBERNATED: 2}


async def test_one_tenant_of_a_small_fleet_may_sleep() -> None:
    fleet = await new_fleet(["acme"], allocated=3)
    assert (await fleet.swept()).actions == {Action.HIBERNATED: 1}


async def test_more_than_the_number_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    fleet = await new_fleet(TEN, max_tenants=9)
    sweep = await refused(fleet, caplog)
    assert sweep.reason == "10 tenants look dormant, and at most 9 may be put to sleep at once"


async def test_a_dry_run_says_that_it_would_be_refused(caplog: pytest.LogCaptureFixture) -> None:
    fleet = await new_fleet(TEN, max_tenants=9)
    await refused(fleet, caplog, dry_run=True)


@pytest.mark.parametrize(
    ("watch", "reason"),
    [
        ({"ago": 40 * MINUTE}, "prometheus is silent since 2026-02-28 11:20 UTC"),
        ({"days": 3}, "prometheus has watched without a gap only since 2026-02-25 12:00 UTC"),
    ],
)
async def test_a_silent_source_is_refused(watch: Any, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    fleet = await new_fleet(["acme"])
    await fleet.watch(**watch)
    sweep = await refused(fleet, caplog)
    assert sweep.reason == reason
    assert sweep.outcomes == {Outcome.UNKNOWN: 1}


async def test_a_source_that_never_watched_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    fleet = await new_fleet(["acme"], activity=ActivitySettings(required_sources="gateway,prometheus"))
    assert (await refused(fleet, caplog)).reason == "gateway has not watched for activity"


async def test_a_source_silent_on_one_cluster_is_not() -> None:
    fleet = await new_fleet(["acme"])
    await fleet.watch(cluster="two", ago=600 * MINUTE)
    assert (await fleet.swept()).actions == {Action.HIBERNATED: 1}


@pytest.mark.parametrize("ahead", [timedelta(minutes=6), timedelta(minutes=-6)])
async def test_another_clock_than_the_tables_is_refused(ahead: timedelta, caplog: pytest.LogCaptureFixture) -> None:
    fleet = await new_fleet(["acme"])
    fleet.storage.ahead = ahead
    assert (await refused(fleet, caplog)).reason.startswith("the clock is wrong: it is 2026-02-28 12:00 UTC here")
    assert len(fleet.due_keys()) == 1


async def test_a_small_difference_of_clocks_is_not() -> None:
    fleet = await new_fleet(["acme"])
    fleet.storage.ahead = timedelta(minutes=4)
    assert (await fleet.swept()).state is SweepState.DONE


async def test_a_start_before_the_last_one_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    fleet = await new_fleet()
    await fleet.swept()
    await fleet.add("acme")
    fleet.clock.step(-7200)
    await fleet.watch()
    assert (await refused(fleet, caplog)).reason == (
        "the clock was set back: it is 2026-02-28 10:00 UTC, but was 2026-02-28 12:00 UTC already"
    )


@pytest.mark.parametrize("seconds", [-3600, 3600])
async def test_a_clock_that_jumps_while_it_acts_ends_it(seconds: float) -> None:
    fleet = await new_fleet(TEN, concurrency=1)
    fleet.ends = None
    sweep = await fleet.start()
    await fleet.worker.advance.run(sweep.id, fleet.workflows)
    fleet.ends = OperationState.SUCCEEDED
    fleet.clock.step(seconds)
    fleet.storage.ahead = -timedelta(seconds=seconds)  # the tables' clock goes on
    assert (await fleet.run(sweep)).state is SweepState.REFUSED
    assert len(fleet.begun) == 1


async def test_a_second_start_joins_the_first() -> None:
    fleet = await new_fleet(["acme"], workers=2)
    first = await fleet.start()
    fleet.clock.advance(1)
    second = await fleet.start(worker=1)
    assert second.id == first.id
    assert fleet.workflows.sweeps == [first.id, first.id]
    await fleet.run(first)
    assert (await fleet.start()).id != first.id


async def test_the_night_has_one_sweep() -> None:
    fleet = await new_fleet(["acme"])
    for _ in range(2):
        await fleet.worker.sweeps.start_nightly(fleet.workflows)
        assert fleet.workflows.sweeps == ["sweep-2026-02-28"]  # the second time it had ended
        await fleet.run(await fleet.sweep(fleet.workflows.sweeps[0]))
    fleet.clock.advance(86400)
    await fleet.worker.sweeps.start_nightly(fleet.workflows)
    assert fleet.workflows.sweeps[1:] == ["sweep-2026-03-01"]


async def test_a_dry_run_is_not_in_the_way() -> None:
    fleet = await new_fleet(["acme"])
    dry = await fleet.start(dry_run=True)
    await fleet.worker.sweeps.start_nightly(fleet.workflows)
    assert (await fleet.run(dry)).reason == "another sweep has begun"
    assert (await fleet.run(await fleet.sweep(fleet.workflows.sweeps[-1]))).state is SweepState.DONE
    assert fleet.begun == ["acme"]


async def test_a_dry_run_joins_the_real_one() -> None:
    fleet = await new_fleet(["acme"])
    sweep = await fleet.start()
    fleet.clock.advance(1)
    joined = await fleet.start(dry_run=True)
    assert (joined.id, joined.start.dry_run) == (sweep.id, False)


async def test_a_sweep_of_long_ago_is_not_joined() -> None:
    fleet = await new_fleet(["acme"])
    old = await fleet.start()
    fleet.clock.advance(86400)
    await fleet.watch()
    assert (await fleet.swept()).state is SweepState.DONE
    assert (await fleet.run(old)).reason == "another sweep has begun"


async def test_stop_ends_a_sweep_before_its_next_action() -> None:
    fleet = await new_fleet(TEN, concurrency=2)
    sweep = await fleet.start()
    fleet.ends = None
    await fleet.worker.advance.run(sweep.id, fleet.workflows)
    await fleet.worker.sweeps.stop(sweep.id, "portal")
    sweep = await fleet.run(sweep)
    assert (sweep.state, sweep.reason) == (SweepState.STOPPED, "stopped by portal")
    assert len(fleet.begun) == 2
    assert (await fleet.worker.sweeps.stop(sweep.id, "portal")).state is SweepState.STOPPED
    fleet.ends = OperationState.SUCCEEDED
    await fleet.end_hibernations()
    fleet.clock.advance(60)
    assert (await fleet.swept()).actions == {Action.HIBERNATED: 8}


async def test_the_switch_ends_a_sweep_and_lasts(caplog: pytest.LogCaptureFixture) -> None:
    fleet = await new_fleet(TEN, concurrency=2)
    sweep = await fleet.start()
    fleet.ends = None
    await fleet.worker.advance.run(sweep.id, fleet.workflows)
    await fleet.worker.sweeps.switch(enabled=False, actor="portal")
    assert (await fleet.run(sweep)).reason == "sweeps were switched off"
    with pytest.raises(Conflict, match="switched off"):
        await fleet.start()
    await fleet.worker.sweeps.start_nightly(fleet.workflows)
    assert "no sweep" in caplog.text
    assert len(fleet.begun) == 2
    assert (await fleet.swept(dry_run=True)).state is SweepState.DONE
    await fleet.worker.sweeps.switch(enabled=True, actor="portal")
    fleet.clock.advance(1)
    assert await fleet.start()


async def test_the_setting_forbids_all_but_dry_runs() -> None:
    fleet = await new_fleet(["acme"], enabled=False)
    with pytest.raises(Conflict, match="BERTH_SWEEP_ENABLED"):
        await fleet.start()
    assert (await fleet.swept(dry_run=True)).outcomes == {Outcome.HIBERNATE: 1}
    assert not await fleet.worker.sweeps.is_enabled()


async def test_without_a_required_source_there_is_no_sweep() -> None:
    fleet = await new_fleet(["acme"], activity=ActivitySettings())
    await fleet.worker.sweeps.start_nightly(fleet.workflows)
    assert fleet.workflows.sweeps == []


@pytest.mark.parametrize("sweep_id", ["sweep-2026-01-01", "sweep", "../sweep", ""])
async def test_no_other_id_is_found(sweep_id: str) -> None:
    fleet = await new_fleet()
    await fleet.swept()
    with pytest.raises(NotFound):
        await fleet.worker.sweeps.get(sweep_id)
    with pytest.raises(NotFound):
        await fleet.worker.sweeps.stop(sweep_id, "portal")


async def test_a_lost_orchestration_is_started_again() -> None:
    fleet = await new_fleet(["acme"])
    fleet.workflows.away = True
    sweep = await fleet.start()
    fleet.workflows.away = False
    assert fleet.workflows.sweeps == []
    await fleet.worker.sweeps.resume(fleet.workflows)
    assert fleet.workflows.sweeps == [sweep.id]
    await fleet.run(sweep)
    await fleet.worker.sweeps.resume(fleet.workflows)
    assert fleet.workflows.sweeps == [sweep.id]
    assert (await fleet.tenants.get(Slug("acme"))).value.operation.actor == sweep.id
