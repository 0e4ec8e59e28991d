"""Visits: one wake for a thousand visitors, few table requests for any number, and nothing said to strangers."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.adapters.tables.activity import TableActivityRepository
from shared.adapters.tables.storage import Row
from shared.application import visits
from shared.application.idempotent_start import Caller
from shared.application.ports.stored import Stored
from shared.application.visits import FRESH_SECONDS, MAX_HOSTS, MAX_UNKNOWN, MAX_WAKES, NOBODY
from shared.domain.activity import Watch
from shared.domain.dormancy import Window
from shared.domain.lifecycle import TenantState
from shared.domain.operations import Operation
from shared.domain.slugs import Slug
from shared.domain.visits import BACKOFF_SECONDS, RETRY_SECONDS, VISITOR, Answer, Message, VisitState
from shared.errors import BerthError, NotFound, Permanent, TooMany, Transient, Unreachable
from shared.settings import ProvisioningSettings
from tests.support.builders import new_cluster, new_settings
from tests.support.sweeping import ACTIVITY, SOURCE
from tests.support.world import PORTAL, World, new_world, violations

ACME = "acme.one.example.com"
DAY = timedelta(days=1)


async def visit(world: World, host: str = ACME, *, worker: int = 0) -> Answer:
    return await world.workers[worker].visits.visit(host, world.workflows)


async def show(world: World, host: str = ACME) -> Answer:
    return await world.worker.visits.show(host)


def rows(world: World) -> dict[str, dict[tuple[str, str], tuple[Row, str]]]:
    return {table: dict(held) for table, held in world.storage.rows.items()}


def pass_time(world: World, seconds: float = FRESH_SECONDS) -> None:
    """Let the answers that were given become old."""
    world.clock.advance(seconds)


async def break_version(world: World, version: str) -> None:
    row = await world.worker.tenants.get(Slug("acme"))
    await world.worker.tenants.save(row.with_value(replace(row.value, version=version)))


async def test_a_visit_opens_a_tenant_that_sleeps() -> None:
    world = await new_world()
    await world.asleep()
    pass_time(world)
    assert (await show(world)).state is VisitState.ASLEEP
    assert (await world.tenant()).state is TenantState.HIBERNATED
    answer = await visit(world, ACME.upper())  # at once: who only looked before delays nobody
    assert (answer.state, answer.message, answer.elapsed_seconds) == (VisitState.OPENING, Message.OPENING, 0)
    operation = (await world.tenant()).operation
    assert operation.actor == "visitor"
    await world.run()
    pass_time(world)
    assert (await show(world)).state is VisitState.OPEN
    assert (await visit(world)).state is VisitState.OPEN
    trail = await world.worker.history.audit(Slug("acme"), limit=2, token="")
    assert [(each.action, each.actor) for each in trail.items] == [("wake", "visitor")] * 2
    assert await violations(world) == []


async def test_a_thousand_visitors_are_one_wake_and_few_requests() -> None:
    world = await new_world()
    await world.asleep()
    pass_time(world, 60)
    world.worker.faults.reset()
    answers = await asyncio.gather(*(visit(world) for _ in range(1000)))
    assert {each.state for each in answers} == {VisitState.OPENING}
    assert len(world.worker.faults.calls) <= 15, world.worker.faults.calls
    assert len(world.workflows.running) == 1
    world.worker.faults.reset()
    await asyncio.gather(*(each for _ in range(500) for each in (visit(world), show(world))))
    assert world.worker.faults.calls == []
    pass_time(world)
    await asyncio.gather(*(each for _ in range(500) for each in (visit(world), show(world))))
    assert world.worker.faults.calls == ["get tenants"]
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE


async def test_visitors_of_two_workers_are_one_wake() -> None:
    world = await new_world(workers=2)
    await world.asleep()
    await asyncio.gather(*(visit(world, worker=number % 2) for number in range(200)))
    assert len(world.workflows.running) == 1
    trail = await world.worker.history.audit(Slug("acme"), limit=9, token="")
    assert [each.action for each in trail.items].count("wake") == 1


async def test_each_visitor_is_told_the_position() -> None:
    world = await new_world(max_concurrent=1)
    for number in range(3):
        await world.asleep(f"t-{number}")
    hosts = [f"t-{number}.one.example.com" for number in range(3)]
    for host in hosts:
        await visit(world, host)
        pass_time(world)
    pass_time(world, 2)  # the queue is read every two seconds
    answers = [await show(world, host) for host in hosts]
    assert [(each.state, each.position, each.message) for each in answers] == [
        (VisitState.OPENING, None, Message.OPENING),
        (VisitState.OPENING, 1, Message.QUEUED),
        (VisitState.OPENING, 2, Message.QUEUED),
    ]


async def test_a_tenant_that_falls_asleep_is_turned_round() -> None:
    world = await new_world()
    await world.active()
    hibernation = await world.sleep()
    assert (await show(world)).message is Message.FALLING_ASLEEP
    assert (await visit(world)).state is VisitState.OPENING
    await world.run()
    tenant = await world.tenant()
    assert (tenant.state, tenant.operation.id) == (TenantState.ACTIVE, hibernation.id)
    trail = await world.worker.history.audit(Slug("acme"), limit=9, token="")
    assert ("cancellation requested", "visitor") in [(each.reason, each.actor) for each in trail.items]


async def test_a_broken_tenant_is_not_hammered() -> None:
    world = await new_world()
    await world.asleep()
    await break_version(world, "missing-1")
    await visit(world)
    await world.run()
    failed = (await world.tenant()).operation
    pass_time(world)
    answer = await visit(world)
    assert (answer.state, answer.message) == (VisitState.FAILED, Message.NOT_OPENED)
    assert RETRY_SECONDS < answer.retry_after <= BACKOFF_SECONDS
    pass_time(world, answer.retry_after - 2)
    assert (await visit(world)).retry_after == 2
    assert (await world.tenant()).operation == failed
    pass_time(world, 2)
    assert (await show(world)).can_wake
    assert (await world.tenant()).operation == failed
    assert (await visit(world)).state is VisitState.OPENING
    assert (await world.tenant()).operation.id != failed.id


async def test_who_could_not_be_provisioned_has_failed() -> None:
    world = await new_world()
    await world.active(version="missing-1")
    assert not (await world.tenant()).cluster
    answer = await visit(world)
    assert (answer.state, answer.message) == (VisitState.FAILED, Message.OUT_OF_ORDER)


async def test_a_wake_that_waits_for_its_cluster_is_opening() -> None:
    world = await new_world()
    tenant = await world.asleep()
    world.kubernetes[tenant.cluster].away = Unreachable("10.1.2.3 is away")
    for _ in range(2):
        await world.timers()
    pass_time(world, 10)
    answer = await visit(world)
    assert (answer.state, answer.message) == (VisitState.OPENING, Message.HELD_UP)
    assert (await world.tenant()).state is TenantState.WAKING


async def test_no_room_ever_is_told_in_general_words() -> None:
    world = await new_world()
    await world.asleep(plan="business")
    await world.worker.registry.change((await world.tenant()).cluster, state=None, capacity=1)
    pass_time(world, 10)
    answer = await visit(world)
    assert (answer.state, answer.message, answer.retry_after) == (VisitState.ASLEEP, Message.NOT_NOW, BACKOFF_SECONDS)
    world.worker.faults.reset()
    pass_time(world, 10)
    assert (await visit(world)).retry_after == BACKOFF_SECONDS - 10
    assert not [each for each in world.worker.faults.calls if each.startswith("transact")]
    await world.worker.registry.change((await world.tenant()).cluster, state=None, capacity=10)
    pass_time(world, BACKOFF_SECONDS)
    assert (await visit(world)).state is VisitState.OPENING


async def test_a_wake_that_fails_for_now_is_tried_again_soon() -> None:
    world = await new_world()
    await world.asleep()
    away = Transient("table storage responded 503")
    world.worker.faults.away = lambda name: away if name == "transact tenants" else None
    answer = await visit(world)
    assert (answer.state, answer.message, answer.retry_after) == (VisitState.ASLEEP, Message.NOT_NOW, RETRY_SECONDS)
    world.worker.faults.reset()
    pass_time(world)
    assert (await visit(world)).message is Message.NOT_NOW
    pass_time(world, RETRY_SECONDS)
    assert (await visit(world)).state is VisitState.OPENING


@pytest.mark.parametrize("error", [Transient("secret account is away"), Permanent("secret account refused")])
async def test_tables_that_are_away_are_asked_once_a_second(error: BerthError) -> None:
    world = await new_world()
    await world.asleep()
    pass_time(world, 10)
    world.worker.faults.away = lambda _: error
    world.worker.faults.calls.clear()
    for _ in range(100):
        with pytest.raises(Transient) as raised:
            await visit(world)
        assert "secret" not in str(raised.value)
    assert world.worker.faults.calls == ["query clusters"]
    world.worker.faults.reset()
    pass_time(world)
    assert (await visit(world)).state is VisitState.OPENING


async def test_strangers_learn_nothing_and_write_nothing() -> None:
    world = await new_world(clusters=[new_cluster(), new_cluster("two", region="other")])
    await world.asleep()
    await world.active("deleted")
    await world.worker.delete.delete(Slug("deleted"), Caller(VISITOR), world.workflows)
    assert await told(world, "deleted.one.example.com") == NOBODY  # it is about to be
    await world.run()
    pass_time(world, 10)
    before = rows(world)
    for host in (
        *("nobody.one.example.com", "deleted.one.example.com", "acme.two.example.com", "acme.example.com", "acme"),
        *("acme.one.example.com:443", "acme.one.example.com.", ".one.example.com", "ac me.one.example.com", ""),
        *("kube-system.one.example.com", "x.acme.one.example.com", "acme.one.example.com/", "acme'.one.example.com"),
    ):
        assert await told(world, host) == NOBODY, host
    assert rows(world) == before


async def told(world: World, host: str) -> str:
    """Return the text of the error that a visit gets; a look gets the same."""
    with pytest.raises(NotFound) as visited:
        await visit(world, host)
    with pytest.raises(NotFound, match=str(visited.value)):
        await show(world, host)
    return str(visited.value)


async def test_unknown_hosts_are_looked_up_a_bounded_number_of_times() -> None:
    world = await new_world()
    await world.asleep()
    assert (await show(world)).state is VisitState.ASLEEP
    pass_time(world)
    world.worker.faults.reset()
    before = rows(world)
    hosts = [f"nobody-{number}.one.example.com" for number in range(1000)]
    results = await asyncio.gather(*(visit(world, host) for host in hosts), return_exceptions=True)
    kinds = [type(each) for each in results]
    assert (kinds.count(NotFound), kinds.count(TooMany)) == (MAX_UNKNOWN, 1000 - MAX_UNKNOWN)
    assert world.worker.faults.calls.count("get tenants") == MAX_UNKNOWN
    with pytest.raises(TooMany) as refused:
        await visit(world, "one-more.one.example.com")
    assert refused.value.retry_after == RETRY_SECONDS
    assert (await show(world)).state is VisitState.ASLEEP  # known before: strangers do not keep its visitors away
    assert rows(world) == before
    pass_time(world)
    with pytest.raises(NotFound):
        await visit(world, "one-more.one.example.com")


async def test_many_known_hosts_are_no_strangers() -> None:
    world = await new_world(clusters=[new_cluster(capacity=500)])
    slugs = [f"t-{number}" for number in range(MAX_UNKNOWN + 20)]
    for slug in slugs:
        await world.sign_up(slug)
    pass_time(world)
    for slug in slugs:
        assert (await show(world, f"{slug}.one.example.com")).state is VisitState.OPENING


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_HOSTS == 10_000
    monkeypatch.setattr(visits, "MAX_HOSTS", 50)
    world = await new_world()
    await world.asleep()
    known, others = world.worker.visits._known, world.worker.visits._others  # pyright: ignore[reportPrivateUsage]
    await show(world)
    for number in range(200):
        pass_time(world, 0.1)
        with pytest.raises(NotFound):
            await show(world, f"nobody-{number}.one.example.com")
    assert len(others) == 50
    assert list(known) == [ACME]  # though it was asked for first
    await world.worker.delete.delete(Slug("acme"), Caller("portal"), world.workflows)
    pass_time(world)
    with pytest.raises(NotFound):
        await show(world)
    assert not known
    assert ACME in others


async def test_of_many_tenants_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "MAX_HOSTS", 2)
    world = await new_world()
    hosts = [f"t-{number}.one.example.com" for number in range(3)]
    for number in range(3):
        await world.sign_up(f"t-{number}")
    pass_time(world)
    for host in hosts:
        await show(world, host)
        await show(world, hosts[0])
    assert list(world.worker.visits._known) == [hosts[2], hosts[0]]  # pyright: ignore[reportPrivateUsage]


async def test_a_foreign_domain_costs_no_lookup() -> None:
    world = await new_world()
    await world.asleep()
    pass_time(world)
    world.worker.faults.reset()
    for number in range(3 * MAX_UNKNOWN):
        with pytest.raises(NotFound):
            await visit(world, f"t-{number}.elsewhere.example.com")
    assert "get tenants" not in world.worker.faults.calls
    assert (await show(world)).state is VisitState.ASLEEP  # a first look


async def test_a_known_tenant_is_looked_for_in_a_flood() -> None:
    world = await new_world()
    await world.asleep()
    await show(world)
    pass_time(world)
    world.worker.faults.away = lambda _: Transient("table storage responded 503")
    with pytest.raises(Transient):
        await show(world)
    world.worker.faults.reset()
    pass_time(world)
    for number in range(MAX_UNKNOWN):
        with pytest.raises(NotFound):
            await show(world, f"nobody-{number}.one.example.com")
    assert (await show(world)).state is VisitState.ASLEEP


@pytest.mark.parametrize("at_once", [True, False])
async def test_visits_queue_a_bounded_number_of_wakes(at_once: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ProvisioningSettings().max_concurrent == MAX_WAKES
    monkeypatch.setattr(visits, "MAX_WAKES", 3)
    world = await new_world(max_concurrent=1)
    slugs = [f"t-{number}" for number in range(10)]
    for slug in slugs:
        await world.asleep(slug)
    pass_time(world, 60)
    hosts = [f"{slug}.one.example.com" for slug in slugs]
    if at_once:
        answers = await asyncio.gather(*(visit(world, host) for host in hosts))
    else:
        answers = [await visit(world, host) for host in hosts]
    opening = [each for each in answers if each.state is VisitState.OPENING]
    refused = [each for each in answers if each not in opening]
    assert len(opening) == (3 if at_once else 4)  # one of which has a slot, which is known if it was begun before
    assert {(each.state, each.message, each.retry_after) for each in refused} == {
        (VisitState.ASLEEP, Message.NOT_NOW, RETRY_SECONDS)
    }
    assert (await world.tenant("t-9")).state is TenantState.HIBERNATED
    assert isinstance(
        await world.worker.wake.wake(Slug("t-9"), PORTAL, world.workflows), Operation
    )  # whoever has a key
    await world.run()
    pass_time(world, RETRY_SECONDS)
    assert (await visit(world, hosts[8])).state is VisitState.OPENING


async def test_who_goes_away_does_not_take_the_answer_along() -> None:
    world = await new_world()
    await world.asleep()
    stall = world.worker.faults.stall_next("get tenants")
    first = asyncio.create_task(visit(world))
    await asyncio.wait_for(stall.reached.wait(), 5)
    second = asyncio.create_task(visit(world))
    first.cancel()
    stall.release()
    assert (await second).state is VisitState.OPENING
    await world.run()
    assert (await world.tenant()).state is TenantState.ACTIVE


async def test_a_visit_is_no_activity_but_keeps_the_next_sweep_away() -> None:
    world = await new_world(settings=new_settings().model_copy(update={"activity": ACTIVITY}))
    await world.active()
    activity = TableActivityRepository(world.storage)

    async def sweep() -> dict[str, str]:
        world.clock.advance(60)
        held = await activity.find_watch(SOURCE, "")
        window = Window(world.clock.now() - 90 * DAY, world.clock.now())
        await activity.save_watch(Stored(Watch(SOURCE, "", window), held.etag if held else ""))
        begun = await world.worker.sweeps.start(dry_run=False, actor="timer", workflows=world.workflows)
        while not (progress := await world.worker.advance_sweep.run(begun.id, world.workflows)).ended:
            await world.run()
            world.clock.advance(progress.wait)
        page = await world.worker.sweep_records.decisions(begun.id, None, limit=9, token="")
        return {each.outcome: each.reason for each in page.items}

    world.clock.advance(30 * DAY.total_seconds())
    assert list(await sweep()) == ["hibernate"]
    assert (await world.tenant()).state is TenantState.HIBERNATED
    assert (await visit(world)).state is VisitState.OPENING
    await world.run()
    assert await activity.find(Slug("acme")) is None
    kept = await sweep()
    assert list(kept) == ["keep"]
    assert "it may sleep from" in kept["keep"]
    assert (await world.tenant()).state is TenantState.ACTIVE
    assert "a visitor woke it 0.0 days ago" in kept["keep"]
    world.clock.advance(DAY.total_seconds())
    assert list(await sweep()) == ["hibernate"]  # nobody came again
