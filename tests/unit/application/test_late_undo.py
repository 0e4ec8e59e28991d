"""A worker that stalls for longer than its time budget, while a request is in flight that others have overtaken."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Outcome, Verdict
from shared.errors import BerthError, Conflict, Permanent, Transient
from tests.support.faults import Faults, Stall
from tests.support.instant_loop import run_instantly
from tests.support.world import PORTAL, World, new_world, violations

STALL_SECONDS = 1000.0  # far more than any budget


@dataclass(frozen=True, slots=True)
class Late:
    """An activity of one worker that stalls in a request, and a world without this worker."""

    world: World
    faults: Faults
    activity: asyncio.Task[Outcome]
    stall: Stall

    async def end(self) -> Outcome:
        """Let it go on when its time is over."""
        await asyncio.sleep(STALL_SECONDS)
        self.stall.release()
        return await self.activity


async def late_stop() -> Late:
    """The tenant is put to sleep and woken again, before the first request to stop its pods arrives."""
    world = await new_world(workers=2)
    await world.active()
    operation = await world.sleep()
    late = await _stalled(world, Activity.STOP, "stop")
    await world.do(Activity.STOP, operation)
    world.workflows.running.clear()
    await world.wake()
    await world.run()
    return late


async def late_route() -> Late:
    """The tenant is woken and put to sleep again, before the first request to open its route arrives."""
    world = await new_world(workers=2)
    await world.asleep()
    operation = await world.wake()
    await world.do(Activity.APPLY, operation)
    world.clock.advance(3)
    late = await _stalled(world, Activity.AWAIT, "open_route")
    await world.do(Activity.AWAIT, operation)
    world.workflows.running.clear()
    await world.sleep()
    await world.run()
    return late


async def late_apply() -> Late:
    """The tenant becomes active and is deleted, before the first request to apply its objects arrives."""
    world = await new_world(workers=2)
    await world.sign_up()
    late = await _stalled(world, Activity.APPLY, "apply")
    await world.run()
    await world.worker.delete.delete(Slug("acme"), PORTAL, world.workflows)
    await world.run()
    return late


async def late_start() -> Late:
    """The tenant is woken and put to sleep again, before the first request to start its pods arrives."""
    world = await new_world(workers=2)
    await world.asleep()
    await world.wake()
    late = await _stalled(world, Activity.APPLY, "apply")
    await world.run()
    await world.sleep()
    await world.run()
    return late


async def _stalled(world: World, activity: Activity, request: str) -> Late:
    """Begin an activity of the open operation on the first worker, and take this from the world once it stalls."""
    worker = world.workers.pop(0)
    stall = worker.faults.stall_next(request)
    work = world.work((await world.tenant()).operation)
    task = asyncio.create_task(worker.activities[activity].run(work, world.workflows))
    await asyncio.wait_for(stall.reached.wait(), 5)
    return Late(world, worker.faults, task, stall)


type Overtaken = Callable[[], Awaitable[Late]]

UNDONE_BY: dict[Overtaken, str] = {
    late_stop: "open_route",
    late_route: "close_route",
    late_apply: "remove",
    late_start: "stop",
}


def failing(request: str, error: BerthError, until: float) -> Callable[[str], BerthError | None]:
    """Let the requests of a name fail until a time of the event loop."""
    return lambda name: error if name == request and asyncio.get_running_loop().time() < until else None


@pytest.mark.parametrize("overtaken", UNDONE_BY)
def test_a_late_change_is_undone_when_no_time_is_left(overtaken: Overtaken) -> None:
    async def run() -> list[str]:
        late = await overtaken()
        await late.end()
        return await violations(late.world)

    assert run_instantly(run()) == []


@pytest.mark.parametrize("error", [Transient("away"), Conflict("changed")], ids=["transient", "conflict"])
@pytest.mark.parametrize(("overtaken", "undone_by"), UNDONE_BY.items())
def test_a_late_change_is_undone_after_some_failures(overtaken: Overtaken, undone_by: str, error: BerthError) -> None:
    async def run() -> list[str]:
        late = await overtaken()
        late.faults.away = failing(undone_by, error, STALL_SECONDS + 30)
        await late.end()
        assert late.faults.calls.count(undone_by) > 5
        return await violations(late.world)

    assert run_instantly(run()) == []


@pytest.mark.parametrize("error", [Transient("away"), Permanent("no")], ids=["transient", "permanent"])
@pytest.mark.parametrize(("overtaken", "undone_by"), UNDONE_BY.items())
def test_a_late_change_that_cannot_be_undone_is_logged(
    overtaken: Overtaken, undone_by: str, error: BerthError, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> tuple[float, str]:
        late = await overtaken()
        late.faults.away = failing(undone_by, error, float("inf"))
        await late.end()
        return asyncio.get_running_loop().time() - STALL_SECONDS, (await late.world.tenant()).slug

    seconds, slug = run_instantly(run())
    assert seconds < 150
    lines = [each.getMessage() for each in caplog.records if each.getMessage().startswith("late change not undone")]
    assert lines
    assert all(f" tenant={slug} " in each for each in lines), lines
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


def test_an_undo_that_was_overtaken_too_is_undone() -> None:
    async def run() -> list[str]:
        late = await late_stop()
        undo = late.faults.stall_next("apply")
        ending = asyncio.create_task(late.end())
        await asyncio.wait_for(undo.reached.wait(), 2 * STALL_SECONDS)
        await late.world.sleep()
        await late.world.run()
        late.faults.away = failing("wait_until_ready", Transient("away"), float("inf"))
        undo.release()
        await ending
        return await violations(late.world)

    assert run_instantly(run()) == []


def test_an_operation_that_goes_on_undoes_nothing_here() -> None:
    async def run() -> tuple[float, Verdict]:
        world = await new_world()
        operation = await world.sign_up()
        calls = world.worker.faults.calls
        world.worker.faults.away = (
            lambda name: (  # the apply, and the next look at the record
                Transient("away") if name == "apply" or calls[-2:] == ["apply", "get tenants"] else None
            )
        )
        outcome = await world.do(Activity.APPLY, operation)
        assert "apply get tenants get tenants" in " ".join(calls)
        return asyncio.get_running_loop().time(), outcome.verdict

    assert run_instantly(run()) == (0, Verdict.RETRY)
