"""The repository of reservations: they add up and exceed no limit, whoever writes at the same moment."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared.adapters.clock import SystemClock
from shared.adapters.tables.reservations import TableReservationRepository
from shared.adapters.tables.storage import TableStorage
from shared.application.ports.reservations import Sums
from shared.domain.clusters import Cluster
from shared.domain.instances import InstanceId, new_instance_id
from shared.domain.operations import OperationId
from shared.domain.placement import Refusal, Reservation, ReservationState, Slots
from tests.support.clock import START
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables

HELD, STARTING, WAITING = ReservationState.HELD, ReservationState.STARTING, ReservationState.WAITING
FULL, NO_SLOT = Refusal.FULL, Refusal.NO_SLOT
ACME = InstanceId("acme")
SLEEP, WAKE = OperationId("slug.sleep"), OperationId("slug.wake")

type Answer = ReservationState | Refusal


@pytest.fixture
def workers(storage: TableStorage) -> list[TableReservationRepository]:
    """Repositories of three workers."""
    return [TableReservationRepository(storage, SystemClock()) for _ in range(3)]


def operation_of(instance: InstanceId) -> OperationId:
    return OperationId(f"slug.{instance}")


def slots(count: int) -> Slots:
    return Slots(count, count)


async def reserve(
    reservations: TableReservationRepository,
    cluster: Cluster,
    instance: InstanceId,
    *,
    weight: int = 1,
    slots: int = 99,
    queue: int = 0,
) -> Answer:
    return await reservations.reserve(
        cluster, instance, operation_of(instance), weight=weight, max_starting=slots, max_waiting=queue
    )


async def reserve_all(
    workers: Sequence[TableReservationRepository], cluster: Cluster, instances: Sequence[InstanceId], **limits: int
) -> list[Answer]:
    """Reserve for all at once, spread over the workers."""
    return await asyncio.gather(
        *(reserve(workers[n % len(workers)], cluster, each, **limits) for n, each in enumerate(instances))
    )


def new_instances(count: int) -> list[InstanceId]:
    return [new_instance_id() for _ in range(count)]


async def test_reservations_never_overbook(workers: list[TableReservationRepository], cluster: Cluster) -> None:
    instances = new_instances(15)
    answers = await reserve_all(workers, cluster, instances)
    assert Counter(answers) == {STARTING: cluster.capacity, FULL: 5}
    assert await reserve_all(workers[:1], cluster, instances) == answers
    assert await workers[2].sums(cluster.name) == Sums(10, 10, instances=10)
    for _ in range(2):
        await asyncio.gather(*(workers[n % 3].release(cluster.name, each) for n, each in enumerate(instances)))
    assert await workers[0].sums(cluster.name) == Sums()


async def test_a_weight_counts_in_full(workers: list[TableReservationRepository], cluster: Cluster) -> None:
    first, second = new_instances(2)
    assert await reserve(workers[0], cluster, first, weight=8) is STARTING
    assert await reserve(workers[1], cluster, second, weight=8) is FULL
    assert await reserve(workers[1], cluster, second, weight=2) is STARTING
    await workers[2].release(cluster.name, first)
    assert await workers[0].sums(cluster.name) == Sums(2, 1, instances=1)


async def test_slots_and_queue_have_their_limits(workers: list[TableReservationRepository], cluster: Cluster) -> None:
    answers = await reserve_all(workers, cluster, new_instances(9), slots=2, queue=3)
    assert Counter(answers) == {STARTING: 2, WAITING: 3, NO_SLOT: 4}
    assert await workers[0].sums(cluster.name) == Sums(5, 2, 3, instances=5)


async def test_nobody_goes_ahead_of_those_that_wait(
    workers: list[TableReservationRepository], cluster: Cluster
) -> None:
    first, *waiting, late = new_instances(5)
    for each in (first, *waiting):
        await reserve(workers[0], cluster, each, slots=1, queue=9)
    await workers[1].release_slot(cluster.name, first, operation_of(first))
    assert await reserve(workers[2], cluster, late, slots=1, queue=9) is WAITING
    order: list[InstanceId] = []
    for _ in range(5):
        for each in await workers[1].hand_out(cluster, slots=slots(1), fresh=True):
            order.append(each.instance)
            await workers[2].release(cluster.name, each.instance)
    assert order == [*waiting, late]
    assert await workers[0].sums(cluster.name) == Sums(1, instances=1)


async def test_slots_are_handed_out_once(workers: list[TableReservationRepository], cluster: Cluster) -> None:
    first, *waiting = new_instances(6)
    for each in (first, *waiting):
        await reserve(workers[0], cluster, each, slots=1, queue=9)
    handed = await asyncio.gather(*(each.hand_out(cluster, slots=slots(4), fresh=True) for each in workers))
    assert [each.instance for part in handed for each in part] == waiting[:3]
    assert await workers[0].sums(cluster.name) == Sums(6, 4, 2, instances=6)
    pending = await workers[1].pending(cluster.name)
    assert {each.instance for each in pending if each.state is STARTING} == {first, *waiting[:3]}
    assert [each.instance for each in pending if each.state is WAITING] == waiting[3:]


async def test_a_slot_is_released_once(workers: list[TableReservationRepository], cluster: Cluster) -> None:
    first, second = new_instances(2)
    for each in (first, second):
        await reserve(workers[0], cluster, each, slots=1, queue=1)
    for each in (first, second):  # what waits can leave the queue too
        await asyncio.gather(*(worker.release_slot(cluster.name, each, operation_of(each)) for worker in workers))
        found = await workers[1].find(cluster.name, each)
        assert found is not None
        assert found.state is HELD
    assert await workers[0].sums(cluster.name) == Sums(2, instances=2)
    assert await workers[0].pending(cluster.name) == []


async def test_those_of_one_moment_share_a_write(faulty: FaultyTables, faults: Faults, cluster: Cluster) -> None:
    reservations = TableReservationRepository(faulty, SystemClock())
    answers = await reserve_all([reservations], cluster, new_instances(10))
    assert set(answers) == {STARTING}
    assert faults.calls.count("transact clusters") <= 2


async def test_a_lost_response_changes_it_once(
    workers: list[TableReservationRepository], faulty: FaultyTables, faults: Faults, cluster: Cluster
) -> None:
    reservations = TableReservationRepository(faulty, SystemClock())

    def lose_next() -> None:
        count = len(faults.calls)
        for number in range(count + 1, count + 6):  # the write is one of the next calls
            faults.lose(number)

    lose_next()
    assert await reserve(reservations, cluster, ACME, weight=2, slots=1) is STARTING
    assert await workers[0].sums(cluster.name) == Sums(2, 1, instances=1)
    lose_next()
    other = new_instance_id()
    assert await reserve(reservations, cluster, other, slots=1, queue=1) is WAITING
    lose_next()
    await reservations.release_slot(cluster.name, ACME, operation_of(ACME))
    assert await workers[0].sums(cluster.name) == Sums(3, 0, 1, instances=2)
    lose_next()
    assert [each.instance for each in await reservations.hand_out(cluster, slots=slots(1))] == [other]
    lose_next()
    await reservations.release(cluster.name, ACME)
    assert await workers[0].sums(cluster.name) == Sums(1, 1, instances=1)
    assert await workers[0].find(cluster.name, ACME) is None


async def asleep(reservations: TableReservationRepository, cluster: Cluster, instance: InstanceId) -> Reservation:
    """Return the reservation of an instance that was awake and sleeps."""
    await reserve(reservations, cluster, instance)
    await reservations.release_slot(cluster.name, instance, operation_of(instance))
    held = await reservations.find(cluster.name, instance)
    assert held is not None
    sleeping = replace(held, state=ReservationState.ASLEEP, operation_id=SLEEP)
    await reservations.replace(cluster.name, held, sleeping)
    assert await reservations.find(cluster.name, instance) == sleeping
    return sleeping


async def wake(
    reservations: TableReservationRepository,
    cluster: Cluster,
    before: Reservation | None,
    *,
    instance: InstanceId = ACME,
    count: int = 9,
    weight: int = 1,
) -> ReservationState | None:
    return await reservations.wake(
        cluster,
        before.instance if before else instance,
        WAKE,
        weight=before.weight if before else weight,
        max_starting=count,
        unless_changed=before,
    )


async def test_what_sleeps_has_its_place_and_no_share(
    workers: list[TableReservationRepository], cluster: Cluster
) -> None:
    limited = replace(cluster, max_instances=1)
    sleeping = await asleep(workers[0], limited, ACME)
    assert await workers[1].sums(cluster.name) == Sums(instances=1)
    assert await reserve(workers[1], limited, new_instance_id()) is FULL
    await workers[1].replace(cluster.name, replace(sleeping, weight=9), replace(sleeping, operation_id=WAKE))  # another
    await workers[1].release_slot(cluster.name, ACME, SLEEP)
    assert await workers[2].find(cluster.name, ACME) == sleeping
    assert await wake(workers[1], limited, sleeping) is STARTING
    assert await wake(workers[2], limited, sleeping) is STARTING  # again
    assert await workers[1].sums(cluster.name) == Sums(1, 1, instances=1)
    await workers[2].release(cluster.name, ACME)
    assert await workers[0].sums(cluster.name) == Sums()


async def test_a_lost_reservation_is_put_back_whatever_the_limits(
    workers: list[TableReservationRepository], cluster: Cluster
) -> None:
    full = replace(cluster, capacity=1, max_instances=1)
    await reserve(workers[0], full, new_instance_id())
    held = Reservation(ACME, operation_of(ACME), 4, HELD, START)
    await workers[1].replace(cluster.name, None, held)
    await workers[2].replace(cluster.name, None, replace(held, weight=9))  # there is one by now
    assert await workers[0].find(cluster.name, ACME) == held
    assert await workers[0].sums(cluster.name) == Sums(5, 1, instances=2)


async def test_a_lost_response_puts_a_reservation_back_once(
    storage: TableStorage, faults: Faults, faulty: FaultyTables, cluster: Cluster
) -> None:
    reservations = TableReservationRepository(faulty, SystemClock())
    held = Reservation(ACME, operation_of(ACME), 4, HELD, START)
    for number in range(1, 6):
        faults.lose(number)
    await reservations.replace(cluster.name, None, held)
    assert await TableReservationRepository(storage, SystemClock()).sums(cluster.name) == Sums(4, instances=1)


async def test_only_what_was_read_is_woken(workers: list[TableReservationRepository], cluster: Cluster) -> None:
    sleeping = await asleep(workers[0], cluster, ACME)
    await workers[1].replace(cluster.name, sleeping, replace(sleeping, operation_id=OperationId("another")))
    assert await wake(workers[2], cluster, sleeping) is None
    await workers[1].release(cluster.name, ACME)
    assert await wake(workers[2], cluster, sleeping) is None
    assert await wake(workers[2], cluster, None) is STARTING  # its reservation was lost
    assert await workers[0].sums(cluster.name) == Sums(1, 1, instances=1)


async def test_wakes_wait_for_slots_and_room_before_signups(
    workers: list[TableReservationRepository], cluster: Cluster
) -> None:
    small = replace(cluster, capacity=3)
    instances = new_instances(3)
    sleeping = [await asleep(workers[0], small, each) for each in instances]
    signups = new_instances(2)
    for each in signups:
        await reserve(workers[1], small, each, slots=1, queue=1)
    states = [await wake(worker, small, each, count=1) for worker, each in zip(workers, sleeping, strict=True)]
    assert set(states) == {ReservationState.WAKING}
    assert await workers[0].sums(cluster.name) == Sums(2, 1, 1, 3, 3, instances=5)
    assert await reserve(workers[1], small, new_instance_id(), queue=9) is FULL  # the rest is wanted
    pending = await workers[2].pending(cluster.name)
    assert [each.instance for each in pending] == [signups[0], *instances, signups[1]]
    await workers[1].release_slot(cluster.name, signups[0], operation_of(signups[0]))
    handed = await workers[0].hand_out(small, slots=Slots(9, 1), fresh=True)
    assert [each.instance for each in handed] == [instances[0]]  # there is room for one, and then no slot for signups
    await workers[2].release(cluster.name, signups[0])
    handed = await workers[0].hand_out(small, slots=Slots(9, 9), fresh=True)
    assert [each.instance for each in handed] == [instances[1], signups[1]]
    assert await workers[0].sums(cluster.name) == Sums(3, 3, 0, 1, 1, instances=4)


async def test_a_waiting_wake_that_ends_sleeps_again(
    workers: list[TableReservationRepository], cluster: Cluster
) -> None:
    sleeping = await asleep(workers[0], cluster, ACME)
    assert await wake(workers[1], cluster, sleeping, count=0) is ReservationState.WAKING
    await workers[2].release_slot(cluster.name, ACME, WAKE)
    assert await workers[0].sums(cluster.name) == Sums(instances=1)
    held = await workers[1].find(cluster.name, ACME)
    assert held is not None
    assert held.state is ReservationState.ASLEEP


async def test_wakes_of_one_moment_share_a_write(faulty: FaultyTables, faults: Faults, cluster: Cluster) -> None:
    reservations = TableReservationRepository(faulty, SystemClock())
    sleeping = [await asleep(reservations, cluster, each) for each in new_instances(10)]
    before = faults.calls.count("transact clusters")
    states = await asyncio.gather(*(wake(reservations, cluster, each, count=2) for each in sleeping))
    assert Counter(states) == {STARTING: 2, ReservationState.WAKING: 8}
    assert faults.calls.count("transact clusters") - before <= 2
    waiting = [each.instance for each in await reservations.pending(cluster.name) if each.state.is_waiting]
    assert waiting == [each.instance for each in sleeping[2:]]
