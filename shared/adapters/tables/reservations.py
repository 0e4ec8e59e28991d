"""The reservations in the table `clusters`, whose rows are described in `reservation_rows`.

A reservation, its index row and the sums change in one transaction, conditional on the sums' ETag: so they always add
up, and no limit is exceeded however many workers write. The cost is that the writes on one cluster come one after the
other; a worker therefore makes all reservations that are asked for at the same moment in one transaction.
"""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from secrets import token_hex

from shared.adapters.tables.reservation_rows import TABLE, Found, partition, replacing, reservation_of, sums_of
from shared.adapters.tables.rows import read_or_skip, read_row, readable, with_schema
from shared.adapters.tables.storage import Row, TableStorage, Write, create_or_replace
from shared.application.ports.clock import Clock
from shared.application.ports.reservations import Sums
from shared.domain.clusters import Cluster, ClusterName
from shared.domain.instances import InstanceId
from shared.domain.operations import OperationId
from shared.domain.placement import Refusal, Reservation, ReservationState, Slots
from shared.errors import Conflict, NotFound, Transient

MAX_SECONDS = 15.0  # of tries against other workers' writes on the same cluster
FIRST_PAUSE, MAX_PAUSE = 0.01, 0.3  # seconds between two tries
MAX_BATCH = 30  # reservations of one transaction, which holds 100 writes: up to three for each and one for the sums
MAX_HANDED_OUT = 30  # slots of one transaction: three writes for each
_JITTER = random.Random()  # noqa: S311 - not a secret


@dataclass(frozen=True, slots=True)
class _Allocation:
    """The row with the sums, and the id of the write that made it, which differs for each."""

    sums: Sums
    etag: str
    write_id: str


@dataclass(frozen=True, slots=True, eq=False)
class _Wanted:
    """A reservation that is asked for, and where the answer goes."""

    instance: InstanceId
    operation_id: OperationId
    weight: int
    max_starting: int
    answer: asyncio.Future[ReservationState | Refusal | None]

    def became(self, state: ReservationState, since: datetime) -> Reservation:
        """Return the reservation that it gets."""
        return Reservation(self.instance, self.operation_id, self.weight, state, since)


@dataclass(frozen=True, slots=True, eq=False)
class _New(_Wanted):
    """One for a new instance; no more than `max_waiting` may wait."""

    max_waiting: int


@dataclass(frozen=True, slots=True, eq=False)
class _Waking(_Wanted):
    """One for an instance that is to be woken, whose reservation was read as `before`."""

    before: Reservation | None


class TableReservationRepository:
    """Implements `shared.application.ports.reservations.ReservationRepository`."""

    def __init__(self, tables: TableStorage, clock: Clock) -> None:
        self._tables = tables
        self._clock = clock
        # Writers of one worker wait here rather than fail each other's conditions.
        self._locks: defaultdict[ClusterName, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._wanted: defaultdict[ClusterName, list[_Wanted]] = defaultdict(list)
        # What the holder of the lock last read or wrote of each allocation row. Nobody else sets it: what others read
        # may be older than a write that was made meanwhile.
        self._known: dict[ClusterName, _Allocation] = {}
        self._seen: dict[ClusterName, Sums] = {}  # what anybody here last saw, which only orders the candidates

    async def sums(self, cluster: ClusterName, *, fresh: bool = True) -> Sums:
        """Return a cluster's sums; without `fresh` those that this worker read or wrote last."""
        seen = None if fresh else self._seen.get(cluster)
        return seen or (await self._read(cluster)).sums

    async def reserve(
        self,
        cluster: Cluster,
        instance: InstanceId,
        operation_id: OperationId,
        *,
        weight: int,
        max_starting: int,
        max_waiting: int,
    ) -> ReservationState | Refusal:
        """Reserve for an instance: with a slot, or behind those that wait for one; again changes nothing."""
        answer = await self._ask(
            cluster, _New(instance, operation_id, weight, max_starting, _new_answer(), max_waiting=max_waiting)
        )
        assert answer is not None, "only a wake finds its reservation changed"
        return answer

    async def wake(
        self,
        cluster: Cluster,
        instance: InstanceId,
        operation_id: OperationId,
        *,
        weight: int,
        max_starting: int,
        unless_changed: Reservation | None,
    ) -> ReservationState | None:
        """Give an instance that sleeps its share and a slot, or a place in the queue; again changes nothing."""
        answer = await self._ask(
            cluster, _Waking(instance, operation_id, weight, max_starting, _new_answer(), before=unless_changed)
        )
        assert not isinstance(answer, Refusal), "no wake is refused"
        return answer

    async def replace(self, cluster: ClusterName, before: Reservation | None, after: Reservation) -> bool:
        """Put a reservation in the place of the one that was read, or of none; False if it is another one by now."""
        is_done = False

        def replaced(found: Reservation | None) -> Reservation | None:
            nonlocal is_done
            is_done = found in (before, after)
            return after if is_done else found

        await self._change(cluster, after.instance, replaced)
        return is_done

    async def find(self, cluster: ClusterName, instance: InstanceId) -> Reservation | None:
        """Return an instance's reservation on a cluster, or None."""
        found = await self._found(cluster, instance)
        return found and found.reservation

    async def pending(self, cluster: ClusterName) -> Sequence[Reservation]:
        """Return the reservations that wait, in the order of the queue, wakes first, after those that start."""
        rows = [row async for row in self._between(cluster, "starting:", "waking;")]
        order = (ReservationState.STARTING, ReservationState.WAKING, ReservationState.WAITING)
        return sorted(readable(TABLE, rows, reservation_of), key=lambda each: order.index(each.state))

    async def all(self, cluster: ClusterName) -> Sequence[Reservation]:
        """Return all reservations on a cluster; raises Transient for a row that cannot be read."""
        rows = self._between(cluster, "instance:", "instance;")
        return [read_row(TABLE, row, reservation_of) async for row in rows]

    async def release_slot(self, cluster: ClusterName, instance: InstanceId, operation_id: OperationId) -> None:
        """Let an instance that no longer starts for an operation hold its share only; again changes nothing."""

        def held(before: Reservation | None) -> Reservation | None:
            if before is None or before.operation_id != operation_id or not before.state.is_pending:
                return before
            is_waking = before.state is ReservationState.WAKING  # it has no share yet
            return replace(before, state=ReservationState.ASLEEP if is_waking else ReservationState.HELD)

        await self._change(cluster, instance, held)

    async def release(
        self, cluster: ClusterName, instance: InstanceId, *, unless_changed: Reservation | None = None
    ) -> None:
        """Release an instance's reservation, or with `unless_changed` one that is still so; again changes nothing."""
        await self._change(cluster, instance, lambda before: None if unless_changed in (None, before) else before)

    async def hand_out(self, cluster: Cluster, *, slots: Slots, fresh: bool = False) -> Sequence[Reservation]:
        """Give the free slots to those that have waited longest, wakes first, and return who got one."""
        async with self._locks[cluster.name]:
            async for attempt in _tries(cluster.name):
                allocation = await self._current(cluster.name, fresh=fresh or attempt > 0)
                sums, now = allocation.sums, self._clock.now()
                starting, writes = list[Reservation](), list[Write]()
                free = min(MAX_HANDED_OUT, slots.all - sums.starting)
                for found in await self._oldest(cluster.name, "waking", free if sums.waking else 0):
                    before = found.reservation
                    if sums.allocated + before.weight > cluster.capacity:
                        break
                    starting.append(replace(before, state=ReservationState.STARTING, since=now))
                    writes += replacing(cluster.name, found, starting[-1])
                    sums = sums.moved(before, starting[-1])
                free = min(MAX_HANDED_OUT - len(starting), slots.for_signups - sums.starting)
                for found in await self._oldest(cluster.name, "waiting", free if sums.waiting else 0):
                    starting.append(replace(found.reservation, state=ReservationState.STARTING, since=now))
                    writes += replacing(cluster.name, found, starting[-1])
                    sums = sums.moved(found.reservation, starting[-1])
                if not starting:
                    break
                if await self._write(cluster.name, allocation, sums, writes):
                    return starting
                # The write was done if its response was lost, also when another worker wrote to the sums since.
                if await self.find(cluster.name, starting[0].instance) == starting[0]:
                    return starting
        return []

    async def _ask(self, cluster: Cluster, wanted: _Wanted) -> ReservationState | Refusal | None:
        """Have a reservation made together with all others that are asked for on the cluster at this moment."""
        self._wanted[cluster.name].append(wanted)
        try:
            async with self._locks[cluster.name]:
                while not wanted.answer.done():  # whoever had the lock before may have answered it
                    batch = self._wanted[cluster.name][:MAX_BATCH]
                    del self._wanted[cluster.name][:MAX_BATCH]
                    try:
                        await self._reserve(cluster, batch)
                    except BaseException as error:
                        _fail(batch, error)
                        if not isinstance(error, Exception):
                            raise
        finally:
            if wanted in self._wanted[cluster.name]:  # its caller is gone
                self._wanted[cluster.name].remove(wanted)
        return wanted.answer.result()

    async def _reserve(self, cluster: Cluster, batch: Sequence[_Wanted]) -> None:
        """Answer a batch with one transaction; those that find no place by what is known are answered by a fresh read.

        Raises Transient.
        """
        name, left = cluster.name, list(batch)
        async for attempt in _tries(name):
            # Those of new instances only if a condition failed: perhaps because one of them is there already.
            read = [each for each in left if attempt or isinstance(each, _Waking)]
            found = dict(
                zip(read, await asyncio.gather(*(self._found(name, each.instance) for each in read)), strict=True)
            )
            left = [each for each in left if not _is_answered(each, found.get(each))]
            if not left:
                return
            allocation = await self._current(name, fresh=attempt > 0)
            sums, refused = allocation.sums, dict[_Wanted, Refusal]()
            made, writes = list[tuple[_Wanted, Reservation]](), list[Write]()
            for wanted in left:
                before = found.get(wanted)
                rest = sums.moved(before and before.reservation, None)
                state = _decide(cluster, rest, wanted)
                if isinstance(state, Refusal):
                    refused[wanted] = state
                    continue
                # A microsecond apart, so that those of one batch queue in the order in which they came.
                reservation = wanted.became(state, self._clock.now() + timedelta(microseconds=len(made)))
                sums = rest.plus(reservation)
                made.append((wanted, reservation))
                writes += replacing(name, before, reservation)
            if refused and not attempt:
                continue  # nobody is refused by what may be out of date, or who has a reservation already
            if writes and not await self._write(name, allocation, sums, writes):
                continue
            for wanted, refusal in refused.items():
                _answer(wanted, refusal)
            for wanted, reservation in made:
                _answer(wanted, reservation.state)
            return

    async def _change(
        self,
        cluster: ClusterName,
        instance: InstanceId,
        change: Callable[[Reservation | None], Reservation | None],
    ) -> None:
        """Replace an instance's reservation, or none, by what `change` makes of it, or delete it for None."""
        async with self._locks[cluster]:
            async for attempt in _tries(cluster):
                found = await self._found(cluster, instance)
                before = found and found.reservation
                after = change(before)
                if after == before:
                    return
                allocation = await self._current(cluster, fresh=attempt > 0)
                sums = allocation.sums.moved(before, after)
                if await self._write(cluster, allocation, sums, replacing(cluster, found, after)):
                    return

    async def _between(
        self, cluster: ClusterName, start: str, end: str, *, page_size: int = 1000
    ) -> AsyncIterator[Row]:
        where = "PartitionKey eq @on and RowKey gt @start and RowKey lt @end"
        parameters = {"on": partition(cluster), "start": start, "end": end}
        async for row, _ in self._tables.query(TABLE, where, parameters, page_size=page_size):
            yield row

    async def _oldest(self, cluster: ClusterName, queue: str, count: int) -> Sequence[Found]:
        """Return those that have waited longest in a queue, up to `count`, as they are in their rows."""
        if count <= 0:
            return []
        oldest: list[Reservation] = []
        async for row in self._between(cluster, f"{queue}:", f"{queue};", page_size=count):
            waiting = read_or_skip(TABLE, row, reservation_of)
            if waiting is not None:
                oldest.append(waiting)
            if len(oldest) == count:
                break
        found = await asyncio.gather(*(self._found(cluster, each.instance) for each in oldest))
        return [each for each, indexed in zip(found, oldest, strict=True) if each and each.reservation == indexed]

    async def _write(self, cluster: ClusterName, allocation: _Allocation, sums: Sums, writes: Sequence[Write]) -> bool:
        """Write reservations with the new sums; False if somebody else wrote since they were read."""
        self._known.pop(cluster, None)
        write_id = token_hex(8)
        row = with_schema(
            {
                "PartitionKey": partition(cluster),
                "RowKey": "allocation",
                **asdict(sums),
                "write_id": write_id,
            }
        )
        try:
            etags = await self._tables.transact(TABLE, [create_or_replace(row, allocation.etag), *writes])
        except (Conflict, NotFound):
            # If only the response of the write was lost, the sums are those of this write.
            return (await self._read(cluster)).write_id == write_id
        self._known[cluster] = _Allocation(sums, etags[0], write_id)
        self._seen[cluster] = sums
        return True

    async def _current(self, cluster: ClusterName, *, fresh: bool) -> _Allocation:
        """Return the allocation row as it was last known, or as it is now; the caller holds the cluster's lock."""
        if fresh or cluster not in self._known:
            self._known[cluster] = await self._read(cluster)
        return self._known[cluster]

    async def _read(self, cluster: ClusterName) -> _Allocation:
        try:
            row, etag = await self._tables.get(TABLE, partition(cluster), "allocation")
        except NotFound:
            return _Allocation(Sums(), "", "")
        found = read_row(TABLE, row, lambda row: _Allocation(sums_of(row), etag, str(row["write_id"])))
        self._seen[cluster] = found.sums
        return found

    async def _found(self, cluster: ClusterName, instance: InstanceId) -> Found | None:
        try:
            row, etag = await self._tables.get(TABLE, partition(cluster), f"instance:{instance}")
        except NotFound:
            return None
        return Found(read_row(TABLE, row, reservation_of), etag)


def _decide(cluster: Cluster, sums: Sums, wanted: _Wanted) -> ReservationState | Refusal:
    """Return the state that a reservation gets; `sums` are those without it."""
    match wanted:
        case _New():
            if not replace(cluster, **asdict(sums)).has_room(wanted.weight):
                return Refusal.FULL
            # Nobody goes ahead of those that wait.
            if sums.starting < wanted.max_starting and not sums.waiting and not sums.waking:
                return ReservationState.STARTING
            return ReservationState.WAITING if sums.waiting < wanted.max_waiting else Refusal.NO_SLOT
        case _:
            fits = sums.allocated + wanted.weight <= cluster.capacity
            may_start = fits and sums.starting < wanted.max_starting and not sums.waking
            return ReservationState.STARTING if may_start else ReservationState.WAKING


def _is_answered(wanted: _Wanted, found: Found | None) -> bool:
    """Answer one whose reservation was made before, or was changed by somebody else; else return False."""
    match wanted:
        case _New() if found:
            _answer(wanted, found.reservation.state)
        case _Waking() if found and found.reservation.is_for(wanted.operation_id):
            _answer(wanted, found.reservation.state)
        case _Waking() if (found and found.reservation) != wanted.before:
            _answer(wanted, None)
        case _:
            return False
    return True


def _new_answer() -> asyncio.Future[ReservationState | Refusal | None]:
    return asyncio.get_running_loop().create_future()


def _answer(wanted: _Wanted, answer: ReservationState | Refusal | None) -> None:
    if not wanted.answer.done():  # its caller may be gone
        wanted.answer.set_result(answer)


def _fail(batch: Sequence[_Wanted], error: BaseException) -> None:
    """Tell all of a batch that it failed; a cancelled writer fails the others for a moment only."""
    for wanted in batch:
        if not wanted.answer.done():
            wanted.answer.set_exception(
                error if isinstance(error, Exception) else Transient("the worker is stopping: send the request again")
            )


async def _tries(cluster: ClusterName) -> AsyncIterator[int]:
    """Yield the numbers of the tries, from 0, with a pause before each but the first; in the end raise Transient.

    The pauses are random, so that the workers do not meet again. What was read before a pause is out of date after it.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + MAX_SECONDS
    for attempt in itertools.count():
        if attempt:
            await asyncio.sleep(_JITTER.uniform(0, min(MAX_PAUSE, FIRST_PAUSE * 2**attempt)))
        if clock() > deadline:
            raise Transient(f"the reservations of cluster {cluster} are changing too fast")
        yield attempt
