"""A world in which a tenant is about to have one activity, for tests of what may happen during it."""

from shared.domain.workflow import Activity
from tests.support.world import World, new_world


async def before(activity: Activity) -> tuple[World, str]:
    """Return a world of two workers whose tenant `acme` is about to have an activity, and the reason of a removal."""
    world = await new_world(workers=2)
    operation = await world.sign_up()
    if activity is not Activity.APPLY:
        await world.do(Activity.APPLY, operation)
    for worker in world.workers:
        worker.faults.reset()
    return world, "too slow" if activity is Activity.REMOVE else ""


async def calls_of(activity: Activity) -> int:
    """Return how many calls to tables and clusters an activity makes when nothing disturbs it."""
    world, reason = await before(activity)
    await world.do(activity, (await world.tenant()).operation, reason=reason)
    return len(world.worker.faults.calls)
