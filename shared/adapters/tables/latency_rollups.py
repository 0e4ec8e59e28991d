"""The table `latencydaily`: the daily roll-ups of latency, which reports read in place of the rows of `latency`.

| PartitionKey | RowKey | what |
|---|---|---|
| KIND | YYYYMMDD:OUTCOME:CLUSTER:PLAN | all operations that ended alike on that day in UTC |
| rollup | progress | up to which day all is final, and when the last run was |
| rollup | late:YYYYMMDD | an operation that ended on that day was recorded later than on it |

A roll-up has NAME_count, NAME_seconds (their sum) and NAME_sketch for the total, the waiting and each step, and
`failures` by class. A sketch is 6 bytes for each bin that has a value: its number, and how many values it has. With
durations from a millisecond to ten years that is at most 1,324 bins, so 8 KB, and at most 64 KB a row.
"""

import json
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import date
from itertools import batched

from shared.adapters.tables import keys
from shared.adapters.tables.rows import read_or_skip, read_row, with_schema
from shared.adapters.tables.storage import Delete, Row, TableStorage, Write, create_or_replace
from shared.application.ports.latency_rollups import RolledDay
from shared.application.ports.stored import Stored
from shared.domain.failures import FailureClass
from shared.domain.latency import STEPS, LatencyKind
from shared.domain.latency_rollup import TOTAL, WAITING, Durations, Rollup, RollupKey, RollupProgress
from shared.domain.sketch import Bins
from shared.errors import Conflict, NotFound

TABLE = "latencydaily"
MAX_WRITES = 50  # of one transaction, which may have 4 MiB
_SHARED = "rollup"  # the partition of what is about all kinds
_BIN = struct.Struct("<hI")  # its number, and how many values it has


class TableLatencyRollupRepository:
    """Implements `shared.application.ports.latency_rollups.LatencyRollupRepository`."""

    def __init__(self, tables: TableStorage) -> None:
        self._tables = tables

    async def of_day(self, kind: LatencyKind, day: date) -> RolledDay:
        """Return what is stored of a kind and day."""
        found: dict[RollupKey, Stored[Rollup] | None] = {}
        async for row, etag in self._rows(kind, day, day):
            rollup = read_or_skip(TABLE, row, _rollup)
            with suppress(ValueError):  # of a version that knows other outcomes: nothing of this one takes its place
                _, key = keys.read_rollup_key(row["RowKey"])
                found[key] = None if rollup is None else Stored(rollup, etag)
        return RolledDay(kind, day, found)

    async def replace(self, before: RolledDay, rollups: Sequence[Rollup]) -> None:
        """Store the roll-ups of a day in place of those that were read before; raises Conflict."""
        for writes in batched(_changes(before, rollups), MAX_WRITES, strict=False):
            try:
                await self._tables.transact(TABLE, writes)
            except NotFound as error:
                raise Conflict(f"the roll-ups of {before.day} were changed by another worker") from error

    async def between(self, kind: LatencyKind, start: date, end: date) -> AsyncIterator[Rollup]:
        """Yield the roll-ups of a kind from one day to another; a row that cannot be read is skipped."""
        async for row, _ in self._rows(kind, start, end):
            rollup = read_or_skip(TABLE, row, _rollup)
            if rollup is not None:
                yield rollup

    async def progress(self) -> Stored[RollupProgress] | None:
        """Return how far the roll-ups have come, or None; raises Transient for a row that it cannot read."""
        try:
            row, etag = await self._tables.get(TABLE, _SHARED, "progress")
        except NotFound:
            return None
        return Stored(read_row(TABLE, row, _progress), etag)

    async def save_progress(self, progress: Stored[RollupProgress]) -> None:
        """Replace it; raises Conflict if somebody changed it since."""
        final, rolled_at = progress.value.final, progress.value.rolled_at
        row = {"PartitionKey": _SHARED, "RowKey": "progress", "final": final.isoformat(), "rolled_at": rolled_at}
        await self._tables.transact(TABLE, [create_or_replace(with_schema(row), progress.etag)])

    async def late_days(self) -> Sequence[Stored[date]]:
        """Return the days for which an operation was recorded later than on that day, in order."""
        where = "PartitionKey eq @shared and RowKey gt 'late:' and RowKey lt 'late;'"
        rows = self._tables.query(TABLE, where, {"shared": _SHARED})
        found = [(row, etag) async for row, etag in rows]
        days = ((read_or_skip(TABLE, row, lambda row: date.fromisoformat(row["day"])), etag) for row, etag in found)
        return [Stored(day, etag) for day, etag in days if day is not None]

    async def forget_late(self, day: Stored[date]) -> None:
        """Forget that a day is to be rolled up once more, unless it was marked again since it was read."""
        with suppress(Conflict, NotFound):
            await self._tables.transact(TABLE, [Delete(late_row(day.value), day.etag)])

    def _rows(self, kind: LatencyKind, start: date, end: date) -> AsyncIterator[tuple[Row, str]]:
        where = "PartitionKey eq @kind and RowKey gt @start and RowKey lt @end"
        return self._tables.query(
            TABLE, where, {"kind": kind.value, "start": keys.rollup_start(start), "end": keys.rollup_end(end)}
        )


def late_row(day: date) -> Row:
    """Return the row that says that an operation of a day was recorded later."""
    return with_schema({"PartitionKey": _SHARED, "RowKey": f"late:{day:%Y%m%d}", "day": day.isoformat()})


def _changes(before: RolledDay, rollups: Sequence[Rollup]) -> Iterator[Write]:
    for each in rollups:
        stored = before.rollups.get(each.key, Stored(None))
        if stored is not None and stored.value != each:
            yield create_or_replace(_row(each), stored.etag)
    gone = before.rollups.keys() - {each.key for each in rollups}
    for key in sorted(gone):
        stored = before.rollups[key]
        if stored is not None:
            yield Delete(_key(before.kind, before.day, key), stored.etag)


def _key(kind: LatencyKind, day: date, key: RollupKey) -> Row:
    return {"PartitionKey": kind.value, "RowKey": keys.rollup_key(day, key)}


def _row(rollup: Rollup) -> Row:
    row: Row = {**_key(rollup.kind, rollup.day, rollup.key), "failures": json.dumps(rollup.failures)}
    for name, each in rollup.durations.items():
        sketch = b"".join(_BIN.pack(number, count) for number, count in each.bins.items())
        row |= {f"{name}_count": each.count, f"{name}_seconds": each.seconds, f"{name}_sketch": sketch}
    return with_schema(row)


def _rollup(row: Row) -> Rollup:
    day, key = keys.read_rollup_key(row["RowKey"])
    names = sorted(each for each in (TOTAL, WAITING, *STEPS) if f"{each}_count" in row)
    return Rollup(
        kind=LatencyKind(row["PartitionKey"]),
        day=day,
        key=key,
        failures={FailureClass(name): int(count) for name, count in json.loads(row["failures"]).items()},
        durations={
            each: Durations(row[f"{each}_count"], row[f"{each}_seconds"], _bins(row[f"{each}_sketch"]))
            for each in names
        },
    )


def _bins(sketch: bytes) -> Bins:
    try:
        return dict(_BIN.iter_unpack(sketch))
    except struct.error as error:
        raise ValueError("a sketch is cut off") from error


def _progress(row: Row) -> RollupProgress:
    return RollupProgress(date.fromisoformat(row["final"]), row["rolled_at"])
