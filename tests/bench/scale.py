"""Whether the cost of a request and of the minute timer depends on the number of tenants: `./berth bench scale`.

Everything but the tables is in memory: one worker's use cases run on a real table server, on which each of their
requests is counted, with a task hub and clusters that are fakes and a clock that is moved instead of waiting. Measured
with few tenants in the tables and then with many, while one cluster has no free slot and a queue. Each sample is taken
by a worker that has just started and knows nothing yet. Then the minute timer runs some times beside the queue.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import psutil
from azure.core.credentials import AzureNamedKeyCredential

from local.ports import Ports
from local.processes import Processes
from local.table_server import ACCOUNT, KEY, Azurite, start_azurite
from shared.adapters.retry import RetryPolicy
from shared.adapters.tables.connection import AzureTableStorage
from shared.adapters.tables.storage import MAX_WRITES, TableStorage
from shared.adapters.tables.tenants import TABLE, TableTenantRepository
from shared.application.ports.stored import Stored
from shared.application.signup import SignupRequest
from shared.domain.clusters import ClusterName
from shared.domain.operations import Operation
from shared.domain.slugs import Slug
from shared.domain.tenants import Tenant
from shared.settings import ProvisioningSettings
from tests.bench.bulk import TIMEOUT_SECONDS, write_rows
from tests.bench.counted import CollectedRows, CountedTables, CountedWorkflows
from tests.bench.goals import Goal, growth, judged
from tests.support.builders import new_cluster, new_settings, new_slug, new_tenant
from tests.support.clock import START, FakeClock
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_templates import FakeTemplates
from tests.support.repositories import register
from tests.support.world import PORTAL, Worker

MEGABYTE = 1 << 20
SAMPLES = 3
MINUTE = 60.0  # seconds
PART = 10_000  # tenants whose rows are in memory at once while they are written

MAX_GROWTH = 10.0  # percent
MAX_TABLE_REQUESTS, MAX_HUB_CALLS = 4.0, 2.0  # for one waiting signup and minute


@dataclass(frozen=True)
class Cost:
    """The cost of one call: table requests, rows that its queries read, calls of the task hub, seconds, and scans."""

    requests: float
    rows: float
    hub: float
    seconds: float
    scans: int


@dataclass(frozen=True)
class Scale:
    """What was measured.

    Attributes:
        fill_seconds: How long it took to write all tenants.
        costs: The costs by the number of tenants in the tables, and then by what was done.
        memory: The bytes of the process's resident memory, by the number of tenants.
        waiting: The cost of one waiting signup and minute.
    """

    fill_seconds: float
    costs: Mapping[int, Mapping[str, Cost]]
    memory: Mapping[int, int]
    waiting: Cost

    @property
    def goals(self) -> Sequence[Goal]:
        few, many = self.costs.values()
        scans = sum(cost.scans for costs in (few, many) for cost in costs.values()) + self.waiting.scans
        requests = max(growth(few[name].requests, many[name].requests) for name in few)
        rows = max(growth(few[name].rows, many[name].rows) for name in few)
        return [
            Goal("growth of table requests, percent", requests, MAX_GROWTH),
            Goal("growth of rows read, percent", rows, MAX_GROWTH),
            Goal("scans", scans, 0),
            Goal("table requests a waiting signup and minute", self.waiting.requests, MAX_TABLE_REQUESTS),
            Goal("task hub calls a waiting signup and minute", self.waiting.hub, MAX_HUB_CALLS),
        ]


class Bench:
    """The clusters `busy`, with a queue, and `free`, each in a region of its name, on one table storage."""

    def __init__(self, tables: TableStorage, *, starting: int, waiting: int, samples: int) -> None:
        self._tables = tables
        self._counted = CountedTables(tables)
        self._clock = FakeClock()
        self._workflows = CountedWorkflows()
        self._signups, self._waiting, self._samples = starting + waiting, waiting, samples
        self._settings = new_settings(max_concurrent=starting, max_queued=waiting, wake_slots=0)
        self._clusters = [new_cluster(name, region=name, capacity=self._signups) for name in ("busy", "free")]
        self._kubernetes = {cluster.name: FakeCluster(self._clock) for cluster in self._clusters}
        self._queued: Operation

    def _worker(self) -> Worker:
        return Worker(self._counted, self._kubernetes, self._clock, self._settings, FakeTemplates())

    async def prepare(self) -> None:
        """Register the clusters, and use up the slots and the queue of one."""
        worker = self._worker()
        for cluster in self._clusters:
            await register(worker.clusters, replace(cluster, uid=self._kubernetes[cluster.name].identity))
        accepted = await asyncio.gather(*(self._sign_up(worker, "busy") for _ in range(self._signups)))
        await self._sign_up(worker, "free")  # the first on a cluster makes its row with the sums
        self._queued = next(each for each in accepted if each.orchestration_id not in self._workflows.running)

    async def costs(self) -> Mapping[str, Cost]:
        """Return the costs of a signup, of following an operation, and of the parts of the minute timer."""
        await self._pass_minute()
        # Signups are last, because each leaves one more operation open.
        calls: Mapping[str, Callable[[Worker], Awaitable[object]]] = {
            "timer: check the clusters": lambda worker: worker.breakers.check_all(),
            "timer: repair and restart": self._repair_and_restart,
            "GET operation, in the queue": self._follow,
            "POST tenant, with a free slot": lambda worker: self._sign_up(worker, "free"),
        }
        return {name: await self._cost(call) for name, call in calls.items()}

    async def waiting_cost(self, minutes: int) -> Cost:
        """Return the cost of the minute timer for each waiting signup and minute; callers' polls are not part of it."""
        worker = self._worker()
        before, began = self._counts(), time.perf_counter()
        for _ in range(minutes):
            await self._pass_minute()
            await worker.breakers.check_all()
            restarted = await self._repair_and_restart(worker)
            assert not restarted, f"{restarted} operations were taken for lost"
        sums = await worker.reservations.sums(ClusterName("busy"))
        assert sums.waiting == self._waiting, f"{sums.waiting} of {self._waiting} wait"
        return self._since(before, began, self._waiting * minutes)

    async def _cost(self, call: Callable[[Worker], Awaitable[object]]) -> Cost:
        before, began = self._counts(), time.perf_counter()
        for _ in range(self._samples):
            await call(self._worker())
        return self._since(before, began, self._samples)

    def _counts(self) -> tuple[int, int, int, int]:
        return self._counted.requests, self._counted.rows, self._workflows.calls, self._counted.scans

    def _since(self, before: tuple[int, int, int, int], began: float, divisor: int) -> Cost:
        requests, rows, hub, scans = (now - then for now, then in zip(self._counts(), before, strict=True))
        seconds = time.perf_counter() - began
        return Cost(requests / divisor, rows / divisor, hub / divisor, seconds / divisor, scans)

    async def _pass_minute(self) -> None:
        """Let a minute pass, and what starts write its heartbeat, as the activities do; that is not counted."""
        self._clock.advance(MINUTE)
        tenants = TableTenantRepository(self._tables)

        async def beat(slug: Slug) -> None:
            stored = await tenants.get(slug)
            operation = replace(stored.value.operation, heartbeat_at=self._clock.now())
            await tenants.save(stored.with_value(replace(stored.value, operation=operation)))

        await asyncio.gather(*(beat(each.slug) for each in self._workflows.running.values()))

    async def _repair_and_restart(self, worker: Worker) -> int:
        open_operations = await worker.tenants.open_operations()
        await worker.slot_repair.run(open_operations, self._workflows)
        return await worker.recovery.restart_lost(open_operations, self._workflows)

    async def _follow(self, worker: Worker) -> None:
        operation = await worker.history.operation(self._queued.id)
        assert await worker.admission.position(operation), "it does not wait any more"

    async def _sign_up(self, worker: Worker, region: str) -> Operation:
        request = SignupRequest(new_slug(), "trial", region, "owner@example.com", "Acme")
        return await worker.signup.sign_up(request, PORTAL, self._workflows)


@asynccontextmanager
async def empty_tables() -> AsyncGenerator[Azurite]:
    """Run a table server without data."""
    ports, processes = Ports(), Processes()
    try:
        yield await start_azurite(processes, ports, in_memory=True)
    finally:
        await processes.close()
        ports.release()


def tables_of(azurite: Azurite) -> AzureTableStorage:
    """Return the tables of a table server."""
    return AzureTableStorage(
        azurite.endpoint,
        AzureNamedKeyCredential(ACCOUNT, KEY),
        policy=RetryPolicy(total_timeout=TIMEOUT_SECONDS),
        attempt_timeout=TIMEOUT_SECONDS,
    )


async def scale(
    azurite: Azurite, *, few: int, many: int, starting: int, waiting: int, minutes: int, samples: int
) -> Scale:
    """Measure in empty tables: with few tenants, then with many, and then what the signups that wait cost.

    Args:
        azurite: The tables.
        few: How many ended tenants are in them at first.
        many: How many there are then.
        starting: How many slots a cluster has: more than two for each sample.
        waiting: How many signups wait on the cluster without a free slot.
        minutes: For how long.
        samples: How many of each call are averaged.
    """
    tables = tables_of(azurite)
    try:
        bench = Bench(tables, starting=starting, waiting=waiting, samples=samples)
        return await _measured(azurite, bench, few, many, minutes)
    finally:
        await tables.close()


async def _measured(azurite: Azurite, bench: Bench, few: int, many: int, minutes: int) -> Scale:
    costs: dict[int, Mapping[str, Cost]] = {}
    memory: dict[int, int] = {}
    fill_seconds = 0.0
    await bench.prepare()
    for before, size in ((0, few), (few, many)):
        began = time.monotonic()
        await fill(azurite.endpoint, range(before, size))
        fill_seconds += time.monotonic() - began
        costs[size] = await bench.costs()
        memory[size] = psutil.Process().memory_info().rss
    return Scale(fill_seconds, costs, memory, await bench.waiting_cost(minutes))


async def fill(endpoint: str, numbers: range) -> None:
    """Write tenants whose operation has ended: the rows that the repository makes, many of them at once."""
    for start in range(numbers.start, numbers.stop, PART):
        collected = CollectedRows()
        repository = TableTenantRepository(collected)
        for number in range(start, min(start + PART, numbers.stop)):
            await repository.save(Stored(_ended_tenant(number)))
        await write_rows(endpoint, TABLE, [write.row for write in collected.writes])


def _ended_tenant(number: int) -> Tenant:
    tenant = new_tenant(f"ended-{number:07}", region="busy", cluster=ClusterName("busy"))
    return tenant.succeed(START, quarantine=timedelta())


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exits with the usage for a wrong one."""
    queue = ProvisioningSettings().max_queued
    parser = argparse.ArgumentParser(prog="./berth bench scale", description=__doc__)
    parser.add_argument("--tenants", type=int, default=100_000, help="tenants in the tables (100000)")
    parser.add_argument("--baseline", type=int, default=1000, help="tenants that are compared with them (1000)")
    parser.add_argument("--waiting", type=int, default=queue, help=f"signups that wait on one cluster ({queue})")
    parser.add_argument("--minutes", type=int, default=5, help="how long they wait, on a clock that is moved (5)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args(arguments)
    if not 0 < options.baseline < options.tenants or options.waiting < 1 or options.minutes < 1:
        parser.error("all numbers are at least 1, and --tenants is more than --baseline")
    return options


async def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    options = parse(arguments)
    async with empty_tables() as azurite:
        print(f"{options.tenants} tenants, {options.waiting} waiting signups …", flush=True)
        result = await scale(
            azurite,
            few=options.baseline,
            many=options.tenants,
            starting=ProvisioningSettings().max_concurrent,
            waiting=options.waiting,
            minutes=options.minutes,
            samples=SAMPLES,
        )
    _print(result, options)
    return judged(result.goals, check=options.check)


def _print(result: Scale, options: argparse.Namespace) -> None:
    print(f"{options.tenants} tenants written in {result.fill_seconds:.0f} s, in transactions of {MAX_WRITES} rows\n")
    few, many = result.costs
    titles = "".join(f"{title:>10}" for title in ("requests", "rows", "hub", "s") * 2)
    print(f"{'tenants in the tables':32}{few:>40}{many:>40}")
    print(f"{'':32}{titles}")
    for name in result.costs[few]:
        numbers = "".join(
            f"{cost.requests:>10g}{cost.rows:>10g}{cost.hub:>10g}{cost.seconds:>10.3f}"
            for cost in (result.costs[few][name], result.costs[many][name])
        )
        print(f"{name:32}{numbers}")
    print(f"{'memory of the process, MB':32}" + "".join(f"{each / MEGABYTE:>40.0f}" for each in result.memory.values()))
    waiting = result.waiting
    print(
        f"\n{options.waiting} signups waited for {options.minutes} minutes; one of them and one minute took "
        f"{waiting.requests:.3f} table requests and {waiting.hub:.3f} calls of the task hub\n"
    )


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
