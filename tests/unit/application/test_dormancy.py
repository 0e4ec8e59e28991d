"""What is known of a tenant: from the reports of sources to the decision."""

from dataclasses import replace
from datetime import timedelta

from shared.application.record_activity import Report
from shared.domain.clusters import ClusterName
from shared.domain.dormancy import Decision, Outcome, Window
from shared.domain.policy import PolicyOverride
from shared.domain.slugs import Slug
from shared.settings import ActivitySettings
from tests.support.builders import new_settings
from tests.support.world import World, new_world

ACME = Slug("acme")
DAY, HOUR = timedelta(days=1), 3600


async def watched_world() -> World:
    """Return a world with an active tenant, in which nobody sleeps unless the gateway has watched."""
    settings = new_settings().model_copy(update={"activity": ActivitySettings(required_sources="gateway")})
    world = await new_world(settings=settings)
    await world.active()
    return world


async def watch(world: World, hours: int, *, cluster: str = "one", active: bool = False) -> None:
    """Let a gateway report once an hour."""
    for _ in range(hours):
        before = world.clock.now()
        world.clock.advance(HOUR)
        reports = [Report(world.clock.now(), slug=ACME)] if active else []
        await world.worker.record_activity.record_all(
            "gateway", reports, cluster=ClusterName(cluster), watched=Window(before, world.clock.now())
        )


async def decision(world: World) -> Decision:
    found = (await world.worker.dormancy.status(ACME)).decision
    assert found is not None
    return found


async def test_a_tenant_is_idle_after_seven_watched_days() -> None:
    world = await watched_world()
    await watch(world, 14 * 24, active=True)
    await watch(world, 7 * 24)
    assert (await decision(world)).outcome is Outcome.KEEP
    await watch(world, 1)
    found = await decision(world)
    assert (found.outcome, found.reason) == (
        Outcome.HIBERNATE,
        "it was last used 7.0 days ago (gateway), and 7 days are allowed",
    )


async def test_a_gap_is_not_the_tenants_silence() -> None:
    world = await watched_world()
    await watch(world, 14 * 24, active=True)
    await watch(world, 4 * 24)
    world.clock.advance(HOUR)
    await watch(world, 4 * 24)
    found = await decision(world)
    assert found.outcome is Outcome.UNKNOWN
    assert "gateway has watched without a gap only since" in found.reason
    await watch(world, 3 * 24 + 1)
    assert (await decision(world)).outcome is Outcome.HIBERNATE


async def test_a_source_that_went_away_proves_nothing() -> None:
    world = await watched_world()
    await watch(world, 30 * 24)
    assert (await decision(world)).outcome is Outcome.HIBERNATE
    world.clock.advance(HOUR)
    found = await decision(world)
    assert (found.outcome, "gateway is away since" in found.reason) == (Outcome.UNKNOWN, True)


async def test_another_clusters_source_proves_nothing() -> None:
    world = await watched_world()
    await watch(world, 30 * 24, cluster="two")
    found = await decision(world)
    assert (found.outcome, "gateway has not watched it" in found.reason) == (Outcome.UNKNOWN, True)


async def test_a_source_may_watch_all_clusters() -> None:
    world = await watched_world()
    await watch(world, 30 * 24, cluster="")
    assert (await decision(world)).outcome is Outcome.HIBERNATE


async def test_without_a_required_source_nobody_sleeps() -> None:
    world = await new_world()
    await world.active()
    await watch(world, 30 * 24)
    found = await decision(world)
    assert (found.outcome, "no source watches for activity" in found.reason) == (Outcome.UNKNOWN, True)


async def test_the_tenants_own_policy_counts() -> None:
    world = await watched_world()
    await watch(world, 30 * 24)
    await world.worker.change_policy.change(ACME, PolicyOverride(exempt=True), "operator")
    assert (await decision(world)).reason == "its policy exempts it"


async def test_a_paid_plan_never_sleeps() -> None:
    settings = new_settings().model_copy(update={"activity": ActivitySettings(required_sources="gateway")})
    world = await new_world(settings=settings)
    await world.active(plan="standard")
    await watch(world, 30 * 24)
    assert (await decision(world)).outcome is Outcome.KEEP


async def test_without_its_plan_nothing_is_decided() -> None:
    world = await watched_world()
    stored = await world.worker.tenants.get(ACME)
    await world.worker.tenants.save(stored.with_value(replace(stored.value, plan="gold")))
    status = await world.worker.dormancy.status(ACME)
    assert (status.policy, status.decision) == (None, None)
    assert [each.source for each in status.signals] == ["gateway"]
