"""What a sweep costs: `./berth bench sweep`.

One worker on a real table server, on which each of its requests is counted. Measured for a night in which many tenants
are due and none is dormant, and then for one with nothing due. The tenants are records only. Azurite, unlike Table
Storage, looks at all rows for each query: so a night takes longer beside more tenants, and not all of 100,000 are due.
"""

import argparse
import asyncio
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import batched

import psutil

from local.table_server import Azurite
from shared.adapters.clock import SystemClock
from shared.adapters.tables import keys
from shared.adapters.tables.activity import TableActivityRepository
from shared.adapters.tables.storage import Delete, Row, TableStorage, Upsert
from shared.adapters.tables.tenants import TABLE, TableTenantRepository
from shared.application.advance_sweep import AT_ONCE
from shared.application.ports.stored import Stored
from shared.domain.activity import TenantActivity, Watch
from shared.domain.clusters import ClusterName
from shared.domain.dormancy import Outcome, Window
from shared.domain.slugs import Slug
from shared.domain.sweeps import Sweep, SweepState
from shared.domain.tenants import AuditEntry, Tenant
from tests.bench.bulk import write_rows
from tests.bench.counted import CollectedRows, CountedTables, CountedWorkflows
from tests.bench.goals import Goal, judged
from tests.bench.scale import MEGABYTE, PART, empty_tables, tables_of
from tests.support.builders import new_settings, new_tenant
from tests.support.fake_templates import FakeTemplates
from tests.support.sweeping import ACTIVITY, DAY, SOURCE
from tests.support.world import Worker

SIZES = (1000, 10_000, 100_000)
DUE = 5000  # of these at most
MAX_REQUESTS = 1.1  # of the tables, for one tenant that is due: one read, and its part of the pages and of the start
MAX_CPU_MS = 1.0  # for one tenant that is due; missed, because azure-data-tables alone needs more: see the floor
MAX_OWN_CPU_MS = 0.5  # of that, what comes on top of the floor
MAX_IDLE_SECONDS = 5.0  # of a night with nothing due
MAX_MEMORY = 200.0  # MB


@dataclass(frozen=True)
class Night:
    """What one night cost: tenants that were looked at, table requests, those that scan, seconds, and CPU seconds."""

    due: int
    requests: int
    scans: int
    seconds: float
    cpu: float


@dataclass(frozen=True)
class Measured:
    """What was measured with so many tenants: a night in which many are due, one with nothing due, the memory, and the
    CPU seconds for the same reads and writes of the due ones without a sweep.
    """

    tenants: int
    due: int
    busy: Night
    idle: Night
    memory: float
    floor: float

    @property
    def goals(self) -> Sequence[Goal]:
        busy = self.busy
        return [
            Goal(f"{self.tenants}: due tenants not looked at", self.due - busy.due, 0),
            Goal(f"{self.tenants}: table requests a due tenant", busy.requests / self.due, MAX_REQUESTS),
            Goal(f"{self.tenants}: scans", busy.scans + self.idle.scans, 0),
            Goal(f"{self.tenants}: ms of CPU a due tenant", 1000 * busy.cpu / self.due, MAX_CPU_MS),
            Goal(
                f"{self.tenants}: of that beyond the floor", 1000 * (busy.cpu - self.floor) / self.due, MAX_OWN_CPU_MS
            ),
            Goal(f"{self.tenants}: tenants looked at with nothing due", self.idle.due, 0),
            Goal(f"{self.tenants}: seconds with nothing due", self.idle.seconds, MAX_IDLE_SECONDS),
            Goal(f"{self.tenants}: memory, MB", self.memory, MAX_MEMORY),
        ]


class Fleet:
    """Tenants on one table server, each used a day ago, and what sweeps them."""

    def __init__(self, tables: TableStorage, endpoint: str) -> None:
        self._counted = CountedTables(tables)
        self._endpoint = endpoint
        self._workflows = CountedWorkflows()
        self._tables = tables
        settings = new_settings().model_copy(update={"activity": ACTIVITY})
        self._worker = Worker(self._counted, {}, SystemClock(), settings, FakeTemplates())

    async def fill(self, size: int, due: int) -> None:
        """Add tenants, the first of which are due at once, and the others in a week."""
        await self._worker.tenants.open_operations()  # which makes the table
        began, later = datetime.now(UTC) - 60 * DAY, datetime.now(UTC) + 7 * DAY
        for start in range(0, size, PART):
            collected = CollectedRows()
            tenants, activity = TableTenantRepository(collected), TableActivityRepository(collected)
            for number in range(start, min(start + PART, size)):
                tenant = _active(number, began)
                await tenants.save(Stored(tenant), audit=_entry(tenant))
                used = TenantActivity(tenant.slug, tenant.instance).reported("heartbeat", began + 59 * DAY)
                await activity.save(Stored(used))
            rows = [_row(write.row, _slug(due), later) for write in collected.writes]
            await write_rows(self._endpoint, TABLE, [row for row in rows if not row["RowKey"].startswith("audit:")])

    async def night(self) -> Night:
        """Sweep once."""
        activity, now = TableActivityRepository(self._tables), datetime.now(UTC)
        held = await activity.find_watch(SOURCE, "")
        await activity.save_watch(Stored(Watch(SOURCE, "", Window(now - 90 * DAY, now)), held.etag if held else ""))
        requests, scans, began, cpu = self._counted.requests, self._counted.scans, time.monotonic(), time.process_time()
        sweep = await self._worker.sweeps.start(dry_run=False, actor="bench", workflows=self._workflows)
        while not (await self._worker.advance_sweep.run(sweep.id, self._workflows)).ended:
            pass
        ended: Sweep = await self._worker.sweeps.get(sweep.id)
        assert ended.state is SweepState.DONE, ended.reason
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        due = ended.outcomes.get(Outcome.KEEP, 0)
        return Night(due, self._counted.requests - requests, self._counted.scans - scans, seconds, cpu)

    async def floor(self, due: int) -> float:
        """Return the CPU seconds to read and write what a sweep does of the due tenants, without a sweep."""
        where = "PartitionKey eq @shard and RowKey ge @tenant and RowKey le @activity"
        rows: dict[str, list[Row]] = {}
        cpu, limit = time.process_time(), asyncio.Semaphore(AT_ONCE)

        async def read(number: int) -> None:
            slug = Slug(_slug(number))
            parameters = {
                "shard": keys.shard(slug),
                "tenant": keys.tenant_key(slug),
                "activity": keys.activity_key(slug),
            }
            async with limit:
                found = [row async for row, _ in self._tables.query(TABLE, where, parameters)]
            assert len(found) == 2, f"{len(found)} rows of {slug}"
            text = found[0]["operation"][:300]  # about as long as a decision
            rows.setdefault(keys.shard(slug), []).append(
                {"PartitionKey": keys.shard(slug), "RowKey": slug, "text": text}
            )

        await asyncio.gather(*map(read, range(due)))
        for of_shard in rows.values():
            for part in batched(of_shard, 50, strict=False):
                decisions = [Upsert(each) for each in part]
                await self._tables.transact("floor", decisions)
                moved = [Upsert({**each, "RowKey": f"due:{each['RowKey']}"}) for each in part]
                await self._tables.transact("floor", [*(Delete(each) for each in part), *moved])
        return time.process_time() - cpu


def _slug(number: int) -> str:
    return f"bench-{number:07}"


def _active(number: int, began: datetime) -> Tenant:
    tenant = new_tenant(_slug(number), cluster=ClusterName("one"), changed_at=began)
    return replace(tenant.succeed(began, quarantine=timedelta()), created_at=began)


def _entry(tenant: Tenant) -> AuditEntry:
    id_ = tenant.operation.id
    return AuditEntry(tenant.slug, tenant.changed_at, "bench", "provision", "ready", "provisioning", "active", id_)


def _row(row: Row, first: str, later: datetime) -> Row:
    """Return a row; that of the index of due dates is moved to later, from the first tenant on that is not due."""
    is_later = row["RowKey"].startswith("due:") and row["slug"] >= first
    return {**row, "RowKey": keys.due_key(row["slug"], later)} if is_later else row


async def _fill(azurite: Azurite, size: int, due: int) -> None:
    tables = tables_of(azurite)
    try:
        await Fleet(tables, azurite.endpoint).fill(size, due)
    finally:
        await tables.close()


def filled(azurite: Azurite, size: int, due: int) -> None:
    """Fill the tables, in a process of its own: what that takes of memory is not the sweep's."""
    asyncio.run(_fill(azurite, size, due))


async def measure(size: int, due: int) -> Measured:
    """Measure with so many tenants in empty tables, of which so many are due."""
    async with empty_tables() as azurite:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as another:
            await asyncio.get_running_loop().run_in_executor(another, filled, azurite, size, due)
        tables = tables_of(azurite)
        try:
            fleet = Fleet(tables, azurite.endpoint)
            busy, idle = await fleet.night(), await fleet.night()
            memory = psutil.Process().memory_info().rss / MEGABYTE
            floor = await fleet.floor(due)
        finally:
            await tables.close()
    return Measured(size, due, busy, idle, memory, floor)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exits with the usage for a wrong one."""
    parser = argparse.ArgumentParser(prog="./berth bench sweep", description=__doc__)
    parser.add_argument("--tenants", type=int, nargs="+", default=SIZES, help=f"numbers of tenants {SIZES}")
    parser.add_argument("--due", type=int, default=DUE, help=f"how many of them are due at most ({DUE})")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args(arguments)
    if min(*options.tenants, options.due) < 1:
        parser.error("all numbers are at least 1")
    return options


async def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    options = parse(arguments)
    goals: list[Goal] = []
    print(f"{'tenants':>8}{'due':>8}{'requests':>10}{'s':>8}{'CPU s':>8}{'MB':>6}", flush=True)
    for size in options.tenants:
        measured = await measure(size, min(size, options.due))
        for night in (measured.busy, measured.idle):
            numbers = f"{size:>8}{night.due:>8}{night.requests:>10}{night.seconds:>8.1f}{night.cpu:>8.1f}"
            print(f"{numbers}{measured.memory:>6.0f}", flush=True)
        print(
            f"{size:>8}{measured.due:>8}   floor: the same rows by azure-data-tables{measured.floor:>9.1f}", flush=True
        )
        goals += measured.goals
    return judged(goals, check=options.check)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
