"""A world in which a tenant is about to have one activity, for tests of what may happen during it."""

from dataclasses import dataclass

from shared.domain.clusters import ClusterName
from shared.domain.lifecycle import OperationKind
from shared.domain.workflow import Activity
from tests.support.world import World, new_world


@dataclass(frozen=True, slots=True)
class Situation:
    """An activity of an operation of one kind, with the reason that the activity gets if it compensates."""

    kind: OperationKind
    activity: Activity
    reason: str = ""


PROVISIONING = (
    Situation(OperationKind.PROVISION, Activity.APPLY),
    Situation(OperationKind.PROVISION, Activity.AWAIT),
    Situation(OperationKind.PROVISION, Activity.REMOVE, "too slow"),
)
SLEEPING = (
    Situation(OperationKind.HIBERNATE, Activity.STOP),
    Situation(OperationKind.HIBERNATE, Activity.RESUME, "cancelled"),
    Situation(OperationKind.WAKE, Activity.APPLY),
    Situation(OperationKind.WAKE, Activity.AWAIT),
    Situation(OperationKind.WAKE, Activity.STOP, "too slow"),
)


def name_of(situation: Situation) -> str:
    """Return a name for a test's parameter."""
    return f"{situation.kind}-{situation.activity}"


async def before(situation: Situation) -> World:
    """Return a world of two workers whose tenant `acme` is about to have an activity."""
    world = await new_world(workers=2)
    match situation.kind:
        case OperationKind.PROVISION:
            operation = await world.sign_up()
        case OperationKind.HIBERNATE:
            await world.active()
            operation = await world.sleep()
        case _:
            await world.asleep()
            operation = await world.wake()
    if situation.activity is Activity.RESUME:
        cluster = world.kubernetes[ClusterName("one")]
        cluster.stop_seconds = 99.0
        await world.do(Activity.STOP, operation)
        cluster.stop_seconds = 1.0
        await world.cancel(operation)
    elif situation.activity is not Activity.APPLY and situation.kind is not OperationKind.HIBERNATE:
        await world.do(Activity.APPLY, operation)
    for worker in world.workers:
        worker.faults.reset()
    return world


async def calls_of(situation: Situation) -> int:
    """Return how many calls to tables and clusters an activity makes when nothing disturbs it."""
    world = await before(situation)
    await world.do(situation.activity, (await world.tenant()).operation, reason=situation.reason)
    return len(world.worker.faults.calls)
