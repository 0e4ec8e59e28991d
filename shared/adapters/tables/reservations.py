"""The reservations in the table `clusters`: one partition for each cluster.

| PartitionKey | RowKey | what |
|---|---|---|
| on:NAME | allocation | the sums: weights reserved, slots in use, reservations waiting for one |
| on:NAME | instance:ID | one instance's reservation |
| on:NAME | starting:ID | an index row: it has a slot |
| on:NAME | waiting:TIME:ID | an index row: it waits for a slot, the oldest first |

A reservation, its index row and the sums change in one transaction, conditional on the sums' ETag: so they always add
up, and no limit is exceeded however many workers write. The cost is that the writes on one cluster come one after the
other; a worker therefore makes all reservations that are asked for at the same moment in one transaction.
"""

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any

from shared.adapters.tables.rows import read_or_skip, read_row, readable, with_schema
from shared.adapters.tables.storage import Create, Delete, Replace, Row, TableStorage, Write, create_or_replace
from shared.application.ports.clock import Clock
from shared.application.ports.reservations import Sums
from shared.domain.clusters import Cluster, ClusterName
from shared.domain.instances import InstanceId
from shared.domain.operations import OperationId
from shared.domain.placement import Refusal, Reservation, ReservationState
from shared.errors import Conflict, NotFound, Transient

TABLE = "clusters"
MAX_SECONDS = 15.0  # of tries against other workers' writes on the same cluster
FIRST_PAUSE, MAX_PAUSE = 0.01, 0.3  # seconds between two tries
MAX_BATCH = 40  # reservations of one transaction, which holds 100 writes: two for each and one for the sums
MAX_HANDED_OUT = 30  # slots of one transaction: three writes for each
_JITTER = random.Random()  # noqa: S311 - not a secret


@dataclass(frozen=True, slots=True)
class _Allocation:
    """The row with the sums, and the id of the write that made it, which differs for each."""

    sums: Sums
    etag: str
    write_id: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A reservation that is asked for, and where the answer goes."""

    instance: InstanceId
    operation_id: OperationId
    weight: int
    max_starting: int
    max_waiting: int
    answer: asyncio.Future[ReservationState | Refusal]


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
        answer: asyncio.Future[ReservationState | Refusal] = asyncio.get_running_loop().create_future()
        wanted = _Wanted(instance, operation_id, weight, max_starting, max_waiting, answer)
        self._wanted[cluster.name].append(wanted)
        try:
            async with self._locks[cluster.name]:
                while not answer.done():  # whoever had the lock before may have answered it
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
        return answer.result()

    async def find(self, cluster: ClusterName, instance: InstanceId) -> Reservation | None:
        """Return an instance's reservation on a cluster, or None."""
        found = await self._row(cluster, instance)
        return None if found is None else read_row(TABLE, found[0], _reservation)

    async def pending(self, cluster: ClusterName) -> Sequence[Reservation]:
        """Return the reservations that wait, in the order of the queue, after those that start."""
        rows = [row async for row in self._between(cluster, "starting:", "waiting;")]
        return readable(TABLE, rows, _reservation)

    async def all(self, cluster: ClusterName) -> Sequence[Reservation]:
        """Return all reservations on a cluster; raises Transient for a row that cannot be read."""
        rows = self._between(cluster, "instance:", "instance;")
        return [read_row(TABLE, row, _reservation) async for row in rows]

    async def release_slot(self, cluster: ClusterName, instance: InstanceId) -> None:
        """Let an instance that no longer starts hold its share only; again changes nothing."""
        await self._change(cluster, instance, ReservationState.HELD)

    async def release(
        self, cluster: ClusterName, instance: InstanceId, *, unless_changed: Reservation | None = None
    ) -> None:
        """Release an instance's reservation, or with `unless_changed` one that is still so; again changes nothing."""
        await self._change(cluster, instance, None, unless_changed)

    async def hand_out(self, cluster: ClusterName, *, max_starting: int, fresh: bool = False) -> Sequence[Reservation]:
        """Give the free slots to those that have waited longest, and return who got one."""
        async with self._locks[cluster]:
            async for attempt in _tries(cluster):
                allocation = await self._current(cluster, fresh=fresh or attempt > 0)
                free = min(MAX_HANDED_OUT, max_starting - allocation.sums.starting)
                if free <= 0 or not allocation.sums.waiting:
                    break
                oldest, now = await self._oldest(cluster, free), self._clock.now()
                starting = [replace(each, state=ReservationState.STARTING, since=now) for each, _ in oldest]
                if not starting:
                    break
                writes: list[Write] = []
                for (before, etag), after in zip(oldest, starting, strict=True):
                    writes += [
                        Replace(_row(cluster, after), etag),
                        Delete(_index_row(cluster, before)),
                        Create(_index_row(cluster, after)),
                    ]
                sums = allocation.sums
                sums = replace(sums, starting=sums.starting + len(starting), waiting=sums.waiting - len(starting))
                if await self._write(cluster, allocation, sums, writes):
                    return starting
                # The write was done if its response was lost, also when another worker wrote to the sums since.
                if await self.find(cluster, starting[0].instance) == starting[0]:
                    return starting
        return []

    async def _reserve(self, cluster: Cluster, batch: Sequence[_Wanted]) -> None:
        """Answer a batch with one transaction; those that find no place by what is known are answered by a fresh read.

        Raises Transient.
        """
        name, left = cluster.name, list(batch)
        async for attempt in _tries(name):
            if attempt:  # perhaps a condition failed because one of them has its reservation already
                left = await self._without_reservation(name, left)
            if not left:
                return
            allocation = await self._current(name, fresh=attempt > 0)
            sums, refused = allocation.sums, dict[InstanceId, Refusal]()
            made = list[tuple[_Wanted, Reservation]]()
            for wanted in left:
                state = _decide(cluster, sums, wanted)
                if isinstance(state, Refusal):
                    refused[wanted.instance] = state
                    continue
                sums = _plus(sums, wanted.weight, state, 1)
                # A microsecond apart, so that those of one batch queue in the order in which they came.
                since = self._clock.now() + timedelta(microseconds=len(made))
                made.append((wanted, Reservation(wanted.instance, wanted.operation_id, wanted.weight, state, since)))
            if refused and not attempt:
                continue  # nobody is refused by what may be out of date, or who has a reservation already
            writes: list[Write] = []
            for _, each in made:
                writes += [Create(_row(name, each)), Create(_index_row(name, each))]
            if writes and not await self._write(name, allocation, sums, writes):
                continue
            for wanted in left:
                if wanted.instance in refused:
                    _answer(wanted, refused[wanted.instance])
            for wanted, reservation in made:
                _answer(wanted, reservation.state)
            return

    async def _without_reservation(self, cluster: ClusterName, batch: Sequence[_Wanted]) -> list[_Wanted]:
        """Answer those that have a reservation, and return the others."""
        found = await asyncio.gather(*(self.find(cluster, wanted.instance) for wanted in batch))
        for wanted, reservation in zip(batch, found, strict=True):
            if reservation is not None:
                _answer(wanted, reservation.state)
        return [wanted for wanted, reservation in zip(batch, found, strict=True) if reservation is None]

    async def _change(
        self,
        cluster: ClusterName,
        instance: InstanceId,
        to: ReservationState | None,
        unless_changed: Reservation | None = None,
    ) -> None:
        """Give an instance's reservation another state, or delete it for None."""
        async with self._locks[cluster]:
            async for attempt in _tries(cluster):
                found = await self._row(cluster, instance)
                if found is None:
                    return
                before = read_row(TABLE, found[0], _reservation)
                if before.state is to or unless_changed not in (None, before):
                    return
                allocation = await self._current(cluster, fresh=attempt > 0)
                sums = _plus(allocation.sums, -before.weight, before.state, -1)
                writes: list[Write] = []
                if before.state is not ReservationState.HELD:
                    writes.append(Delete(_index_row(cluster, before)))
                if to is None:
                    writes.append(Delete(_row(cluster, before), found[1]))
                else:
                    sums = _plus(sums, before.weight, to, 1)
                    writes.append(Replace(_row(cluster, replace(before, state=to)), found[1]))
                if await self._write(cluster, allocation, sums, writes):
                    return

    async def _between(
        self, cluster: ClusterName, start: str, end: str, *, page_size: int = 1000
    ) -> AsyncIterator[Row]:
        where = "PartitionKey eq @on and RowKey gt @start and RowKey lt @end"
        parameters = {"on": _on(cluster), "start": start, "end": end}
        async for row, _ in self._tables.query(TABLE, where, parameters, page_size=page_size):
            yield row

    async def _oldest(self, cluster: ClusterName, count: int) -> Sequence[tuple[Reservation, str]]:
        """Return those that have waited longest, with the ETags of their rows."""
        found: list[Reservation] = []
        async for row in self._between(cluster, "waiting:", "waiting;", page_size=count):
            waiting = read_or_skip(TABLE, row, _reservation)
            if waiting is not None:
                found.append(waiting)
            if len(found) == count:
                break
        rows = await asyncio.gather(*(self._row(cluster, each.instance) for each in found))
        return [(each, row[1]) for each, row in zip(found, rows, strict=True) if row is not None]

    async def _write(self, cluster: ClusterName, allocation: _Allocation, sums: Sums, writes: Sequence[Write]) -> bool:
        """Write reservations with the new sums; False if somebody else wrote since they were read."""
        self._known.pop(cluster, None)
        write_id = token_hex(8)
        row = with_schema(
            {
                "PartitionKey": _on(cluster),
                "RowKey": "allocation",
                "allocated": sums.allocated,
                "starting": sums.starting,
                "waiting": sums.waiting,
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
            row, etag = await self._tables.get(TABLE, _on(cluster), "allocation")
        except NotFound:
            return _Allocation(Sums(), "", "")
        found = read_row(TABLE, row, lambda row: _Allocation(_sums(row), etag, str(row["write_id"])))
        self._seen[cluster] = found.sums
        return found

    async def _row(self, cluster: ClusterName, instance: InstanceId) -> tuple[Row, str] | None:
        try:
            return await self._tables.get(TABLE, _on(cluster), f"instance:{instance}")
        except NotFound:
            return None


def _decide(cluster: Cluster, sums: Sums, wanted: _Wanted) -> ReservationState | Refusal:
    if sums.allocated + wanted.weight > cluster.capacity:
        return Refusal.FULL
    if sums.starting < wanted.max_starting and not sums.waiting:  # nobody goes ahead of those that wait
        return ReservationState.STARTING
    return ReservationState.WAITING if sums.waiting < wanted.max_waiting else Refusal.NO_SLOT


def _plus(sums: Sums, weight: int, state: ReservationState, count: int) -> Sums:
    return Sums(
        allocated=sums.allocated + weight,
        starting=sums.starting + (count if state is ReservationState.STARTING else 0),
        waiting=sums.waiting + (count if state is ReservationState.WAITING else 0),
    )


def _answer(wanted: _Wanted, answer: ReservationState | Refusal) -> None:
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


def _on(cluster: ClusterName) -> str:
    return f"on:{cluster}"


def _row(cluster: ClusterName, reservation: Reservation) -> Row:
    return _with_key(cluster, f"instance:{reservation.instance}", reservation)


def _index_row(cluster: ClusterName, reservation: Reservation) -> Row:
    if reservation.state is ReservationState.STARTING:
        return _with_key(cluster, f"starting:{reservation.instance}", reservation)
    return _with_key(cluster, f"waiting:{reservation.since:%Y%m%d%H%M%S%f}:{reservation.instance}", reservation)


def _with_key(cluster: ClusterName, key: str, reservation: Reservation) -> Row:
    values: Mapping[str, Any] = {
        "PartitionKey": _on(cluster),
        "RowKey": key,
        "instance": reservation.instance,
        "operation_id": reservation.operation_id,
        "weight": reservation.weight,
        "state": reservation.state.value,
        "since": reservation.since,
    }
    return with_schema(dict(values))


def _reservation(row: Row) -> Reservation:
    since: datetime = row["since"]
    return Reservation(
        InstanceId(row["instance"]),
        OperationId(row["operation_id"]),
        int(row["weight"]),
        ReservationState(row["state"]),
        since,
    )


def _sums(row: Row) -> Sums:
    return Sums(int(row["allocated"]), int(row["starting"]), int(row["waiting"]))
