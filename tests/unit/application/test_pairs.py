"""Two requests at once for one tenant: the outcome is one of those that they have one after the other.

Whoever loses gets a problem that docs/problems.md describes, and nothing is left behind. Each pair is tried in many
orders of its calls to the tables, the clusters and the task hub.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import pytest

from functions.http.problems import Kind, problem_of
from shared.adapters.tables.activity import TableActivityRepository
from shared.application.ports.stored import Stored
from shared.domain.activity import Watch
from shared.domain.clusters import ClusterName
from shared.domain.dormancy import Window
from shared.domain.operations import Operation
from shared.domain.policy import PolicyOverride
from shared.domain.slugs import Slug
from shared.domain.sweeps import Action
from shared.domain.tenants import Tenant
from shared.errors import BerthError, Unreachable
from shared.settings import SweepSettings
from tests.support.builders import new_settings
from tests.support.instant_loop import run_instantly
from tests.support.interleaving import Schedule, interleaved, schedules
from tests.support.sweeping import ACTIVITY, DAY, SOURCE
from tests.support.world import PORTAL, World, new_world, violations

ACME = Slug("acme")
SCHEDULES = 12  # orders of each pair
ROUNDS = 5  # of timers that make good what was left behind
ALL = 999  # more calls than any request makes
PROBLEMS = (Path(__file__).parents[3] / "docs/problems.md").read_text()


async def nothing(_: World) -> None:
    pass


async def provisioning(world: World) -> None:
    await world.sign_up(version="slow-1")
    await world.run(steps=2)


async def active(world: World) -> None:
    await world.active()
    world.clock.advance(20 * DAY.total_seconds())


async def hibernating(world: World) -> None:
    await active(world)
    world.kubernetes[ClusterName("one")].stop_seconds = 60
    await world.sleep()
    await world.run(steps=1)


async def hibernated(world: World) -> None:
    await active(world)
    await world.sleep()
    await world.run()


async def waking(world: World) -> None:
    await hibernated(world)
    await world.wake()
    await world.run(steps=1)


async def failed(world: World) -> None:
    await world.sign_up(version="missing-1")
    await world.run()


async def deleting(world: World) -> None:
    await active(world)
    await world.worker.delete.delete(ACME, PORTAL, world.workflows)


async def lost(world: World) -> None:
    """A tenant that sleeps, on a cluster that has been away for an hour."""
    await hibernated(world)
    world.kubernetes[ClusterName("one")].away = Unreachable("on purpose")
    for _ in range(3):
        await world.timers()
        world.clock.advance(1200)


async def asked(world: World, name: str, worker: int) -> Any:
    """Send a request, and return what the caller gets."""
    each, workflows = world.workers[worker], world.workflows
    match name:
        case "signup":
            return await world.sign_up(worker=worker)
        case "sleep":
            return await each.sleep.sleep(ACME, PORTAL, workflows)
        case "wake":
            return await each.wake.wake(ACME, PORTAL, workflows)
        case "delete":
            return await each.delete.delete(ACME, PORTAL, workflows)
        case "retry":
            return await each.retry.retry(ACME, "1.0.0", PORTAL, workflows)
        case "cancel":
            return await each.cancel.cancel((await each.tenants.get(ACME)).value.operation.id, PORTAL, workflows)
        case "policy":
            return await each.change_policy.change(ACME, PolicyOverride(exempt=True), "operator")
        case "forget":
            return await each.forget.forget(ACME, "on purpose", PORTAL, workflows)
        case _:
            return await each.advance_sweep.run(workflows.sweeps[0], workflows)


STATES: dict[Callable[[World], Awaitable[None]], tuple[str, ...]] = {
    nothing: ("signup", "policy"),
    provisioning: ("cancel", "delete", "sleep", "retry", "policy", "signup"),
    active: ("sleep", "wake", "delete", "policy", "sweep"),
    hibernating: ("sleep", "wake", "cancel", "delete", "policy", "sweep"),
    hibernated: ("sleep", "wake", "delete", "policy", "sweep"),
    waking: ("sleep", "wake", "cancel", "delete", "policy", "sweep"),
    failed: ("signup", "retry", "delete", "wake", "policy"),
    deleting: ("delete", "cancel", "forget", "retry", "policy"),
    lost: ("forget", "wake", "delete", "retry", "policy"),
}
PAIRS = [(state, *pair) for state, names in STATES.items() for pair in combinations_with_replacement(names, 2)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What both callers got, what the sweep did, and what is left in the end."""

    results: tuple[str, str]
    action: str
    tenant: str


async def outcome(
    state: Callable[[World], Awaitable[None]], names: tuple[str, str], schedule: Schedule
) -> tuple[Outcome, tuple[int, int], list[str]]:
    """Send two requests in an order; return the outcome, how many calls each made, and what is wrong."""
    settings = new_settings().model_copy(
        update={"activity": ACTIVITY, "sweep": SweepSettings(schedule="0 30 2 * * *", max_share=1)}
    )
    world = await new_world(workers=2, settings=settings)
    await state(world)
    now = world.clock.now()
    watch = Watch(SOURCE, "", Window(now - 90 * DAY, now))
    await TableActivityRepository(world.storage).save_watch(Stored(watch))
    if "sweep" in names:
        await world.worker.sweeps.start_nightly(world.workflows)
    works = [lambda name=name, number=number: asked(world, name, number) for number, name in enumerate(names)]
    results, calls = await interleaved(works, [each.faults for each in world.workers], schedule)
    wrong = [f"{each!r} is no problem" for each in results if unexpected(each)]
    wrong += await settled(world)
    action = await swept(world)
    first, second = (in_words(name, each) for name, each in zip(names, results, strict=True))
    return Outcome((first, second), action, await in_the_end(world)), calls, wrong


async def settled(world: World) -> list[str]:
    """Let everything come to its end, and return what is wrong then."""
    world.kubernetes[ClusterName("one")].away = None
    found = ["nothing was checked yet"]
    for _ in range(ROUNDS):
        for sweep_id in world.workflows.sweeps:
            await world.worker.advance_sweep.run(sweep_id, world.workflows)
        await world.run()
        found = await violations(world)
        if not found:
            break
        world.clock.advance(1200)
        await world.timers()
        await world.worker.reconciliation.run(world.workflows)
        world.clock.advance(3600)
    for sweep_id in world.workflows.sweeps:
        assert (await world.worker.advance_sweep.run(sweep_id, world.workflows)).ended
    return found


async def swept(world: World) -> str:
    if not world.workflows.sweeps:
        return ""
    found = await world.worker.sweep_records.decisions(world.workflows.sweeps[0], None, limit=10, token="")
    # Whether it is kept at the first look or at the second says only when the other request came.
    actions = {each.action for each in found.items} - {Action.NONE, Action.KEPT}
    return ", ".join(sorted(actions))


async def in_the_end(world: World) -> str:
    try:
        tenant = await world.tenant()
    except BerthError as error:
        return str(error)
    operation, policy = tenant.operation, "exempt" if tenant.policy.exempt else "as its plan"
    return f"{tenant.state} after {operation.kind} {operation.state}, {policy}"


def in_words(name: str, result: Any) -> str:
    match result:
        case Operation():
            return f"{name}: {result.kind}{', to be cancelled' if result.cancel_requested else ''}"
        case Tenant():
            return f"{name}: nothing to do" if name in ("sleep", "wake") else f"{name}: done"
        case BerthError():
            return f"{name}: {problem_of(result).kind.label}"
        case _:
            return f"{name}: done"


def unexpected(result: Any) -> bool:
    """Whether a caller got an error that is no problem of the documentation."""
    if not isinstance(result, BaseException):
        return False
    kind = problem_of(result).kind if isinstance(result, BerthError) else Kind.INTERNAL
    return kind is Kind.INTERNAL or f"\n## {kind.label}\n" not in PROBLEMS


@pytest.mark.parametrize(("state", "one", "two"), PAIRS, ids=[f"{state.__name__}: {a}, {b}" for state, a, b in PAIRS])
def test_two_at_once_end_as_one_after_the_other(state: Callable[[World], Awaitable[None]], one: str, two: str) -> None:
    run_instantly(compare(state, one, two))


async def compare(state: Callable[[World], Awaitable[None]], one: str, two: str) -> None:
    forwards, calls, wrong = await outcome(state, (one, two), (0,) * ALL)
    assert wrong == []
    backwards, (_, second), wrong = await outcome(state, (one, two), (1,) * ALL)
    assert wrong == []
    allowed = {forwards, backwards}
    for schedule in schedules((calls[0], second), count=SCHEDULES, seed=f"{state.__name__} {one} {two}"):
        found, _, wrong = await outcome(state, (one, two), schedule)
        assert wrong == [], schedule
        assert found in allowed, f"{schedule}: {found}, and not {allowed}"
