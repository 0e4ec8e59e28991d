"""Workers that die between a change of an instance and the look at the record after it: reconciliation repairs that."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.domain.lifecycle import OperationKind, TenantState
from shared.domain.slugs import Slug
from shared.domain.workflow import Activity, Outcome
from shared.errors import Conflict, NotFound
from tests.support.faults import Stall
from tests.support.world import PORTAL, World, new_world, violations

SLUG = Slug("ann-1")

# What the activities of an operation change on a cluster.
CHANGES = {
    OperationKind.PROVISION: [(Activity.APPLY, "apply"), (Activity.AWAIT, "open_route"), (Activity.REMOVE, "remove")],
    OperationKind.HIBERNATE: [(Activity.STOP, "stop"), (Activity.STOP, "close_route"), (Activity.RESUME, "apply")],
    OperationKind.WAKE: [(Activity.APPLY, "apply"), (Activity.AWAIT, "open_route"), (Activity.STOP, "stop")],
    OperationKind.DELETE: [(Activity.REMOVE, "remove")],
}


@dataclass(frozen=True, slots=True)
class Round:
    """An operation begins, and a worker stalls before a change; others end the operation, and do what comes next.

    If `dies`, all changes that stall are made then, and their workers stop for good.
    """

    what: str
    steps: int
    change: int
    then: list[str]
    dies: bool


@dataclass(slots=True)
class Dying:
    """Workers that stall, each with its last call and the one that it never makes."""

    stalled: list[tuple[asyncio.Task[Outcome], Stall, Stall]] = field(
        default_factory=list[tuple[asyncio.Task[Outcome], Stall, Stall]]
    )

    async def begin(self, world: World, change: int) -> None:
        operation = (await world.tenant(SLUG)).operation
        activity, name = CHANGES[operation.kind][change % len(CHANGES[operation.kind])]
        worker = world.new_worker()
        last = worker.faults.stall_next(name)
        task = asyncio.create_task(worker.activities[activity].run(world.work(operation), world.workflows))
        await last.reached_or_done(task)
        self.stalled.append((task, last, worker.faults.stall(len(worker.faults.calls) + 1)))

    async def die(self) -> None:
        for task, last, never in self.stalled:
            last.release()
            await never.reached_or_done(task)
            task.cancel()
        self.stalled.clear()


asked = st.sampled_from(["turn", "turn", "turn", "cancel", "retry", "delete"])
rounds = st.builds(Round, asked, st.integers(0, 1), st.integers(0, 2), st.lists(asked, max_size=2), st.booleans())


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rounds, min_size=1, max_size=6))
async def test_every_crash_is_repaired(history: list[Round]) -> None:
    world, dying = await new_world(workers=2), Dying()
    await world.active(SLUG)

    async def ask(what: str) -> None:
        worker, workflows, tenant = world.worker, world.workflows, await world.tenant(SLUG)
        if what == "turn":
            what = "sleep" if tenant.state is TenantState.ACTIVE else "wake"
        with suppress(Conflict, NotFound):  # refused, which is right
            match what:
                case "cancel":
                    await world.cancel(tenant.operation)
                case "sleep":
                    await worker.sleep.sleep(SLUG, PORTAL, workflows)
                case "wake":
                    await worker.wake.wake(SLUG, PORTAL, workflows)
                case "retry":
                    await worker.retry.retry(SLUG, "1.0.0", PORTAL, workflows)
                case _:
                    await worker.delete.delete(SLUG, PORTAL, workflows)

    for each in history:
        await ask(each.what)
        await world.run(steps=each.steps)
        await dying.begin(world, each.change)
        await world.run()
        for what in each.then:
            await ask(what)
            await world.run()
        if each.dies:
            await dying.die()
    await dying.die()
    for _ in range(2):
        world.clock.advance(3600)
        await world.timers()
        await world.run()
        await world.worker.reconciliation.run(world.workflows)
        await world.run()
    assert await violations(world) == []
