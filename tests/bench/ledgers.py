"""What the ledgers cost: `./berth bench ledgers`.

One worker on a real table server, on which each of its requests is counted. Metered are a fleet of which all are awake
and one of which all are asleep: an hourly run, and the run that makes a day final. The floor beside it is to read and
write the same rows without metering. Then a report of a year is read from its daily sums.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psutil

from shared.adapters.tables import keys
from shared.adapters.tables.costs import DAILY, TableCostLedger
from shared.adapters.tables.prices import TablePriceRepository
from shared.adapters.tables.storage import Row, TableStorage
from shared.adapters.tables.tenants import TABLE as TENANTS
from shared.adapters.tables.tenants import TableTenantRepository, transition_row
from shared.adapters.tables.transitions import TableTransitions
from shared.application.metering import Metering
from shared.application.price_books import PriceBooks
from shared.application.report_costs import ReportCosts
from shared.domain.assets import Nodes
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.cost_report import Grouping
from shared.domain.cost_rollups import ClusterDay, FleetDay, PlanDay, Spread
from shared.domain.costs import day_bounds
from shared.domain.instances import InstanceId
from shared.domain.prices import PriceId
from shared.domain.slugs import Slug
from shared.domain.uses import Transition, Use
from shared.settings import CostSettings
from tests.bench.bulk import write_rows
from tests.bench.counted import CollectedRows, CountedTables
from tests.bench.goals import Goal, judged
from tests.bench.scale import MEGABYTE, empty_tables, tables_of
from tests.support.builders import ASSETS, PLANS, PRICES, new_cluster
from tests.support.clock import FakeClock
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_connections import FakeConnections
from tests.support.faults import Faults
from tests.support.repositories import clusters_on, register

TENANTS_BY_DEFAULT = 10_000
FIRST = datetime(2026, 3, 2, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ONE = ClusterName("one")
HOURLY = 24  # runs a day
CLUSTERS, YEAR = 4, 365  # of the report
MAX_SECONDS = 60.0  # to meter a day
MAX_GROWTH = 60.0  # MB, while it does: the pages that are read, and one number for each instance
MAX_AWAKE, MAX_ASLEEP = 30.0, 2.0  # requests for each tenant and day
MAX_REPORT_SECONDS = 1.0
OPERATIONS = PriceId("tables:Standard_LRS:operations")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run cost: table requests, seconds, CPU seconds, and how many MB of memory it needed on top."""

    requests: int
    seconds: float
    cpu: float
    growth: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """What metering a fleet costs, all of it awake or asleep.

    Attributes:
        tenants: How many there are.
        hourly: A run in the middle of a day.
        final: The run that makes the day final, and looks at the one before it once more.
        floor: Reading and writing the rows of a day, and nothing else.
    """

    tenants: int
    hourly: Run
    final: Run
    floor: Run

    @property
    def requests_a_day(self) -> float:
        """Table requests for each tenant and day."""
        return (HOURLY * self.hourly.requests + self.final.requests) / self.tenants


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured."""

    awake: Fleet
    asleep: Fleet
    report: Run

    @property
    def goals(self) -> Sequence[Goal]:
        runs = [each for fleet in (self.awake, self.asleep) for each in (fleet.hourly, fleet.final)]
        return [
            Goal("seconds to meter a day", max(each.seconds for each in runs), MAX_SECONDS),
            Goal("MB that it needs meanwhile", max(each.growth for each in runs), MAX_GROWTH),
            Goal("table requests a day for each tenant awake", self.awake.requests_a_day, MAX_AWAKE),
            Goal("table requests a day for each tenant asleep", self.asleep.requests_a_day, MAX_ASLEEP),
            Goal("seconds for a report of a year", self.report.seconds, MAX_REPORT_SECONDS),
        ]


class TimedTables(CountedTables):
    """Tables whose clock is one that can be moved: metering takes the time from them."""

    def __init__(self, tables: TableStorage, clock: FakeClock) -> None:
        super().__init__(tables)
        self._clock = clock

    async def written_at(self, table: str, partition: str, row: str) -> datetime:
        await super().written_at(table, partition, row)
        return self._clock.now()


class Bench:
    """A fleet on one table server, and the worker that meters it."""

    def __init__(self, tables: TableStorage, endpoint: str) -> None:
        self._endpoint = endpoint
        self._clock = FakeClock(FIRST)
        self._counted = TimedTables(tables, self._clock)
        self._cluster = FakeCluster(self._clock)
        self._clusters = clusters_on(self._counted, self._clock)
        self.ledger = TableCostLedger(self._counted)
        self._transitions = TableTransitions(self._counted)
        self._metering = Metering(
            ledger=self.ledger,
            transitions=self._transitions,
            clusters=self._clusters,
            connections=FakeConnections(self._clusters, {ONE: self._cluster}, Faults()),
            price_books=PriceBooks(document=PRICES, prices=TablePriceRepository(self._counted)),
            assets=ASSETS,
            plans=PLANS,
            clock=self._clock,
            settings=CostSettings(),
        )

    async def fill(self, count: int, *, awake: bool) -> None:
        """Let so many instances begin on the first day."""
        await register(self._clusters, new_cluster(region="westeurope", uid=self._cluster.identity))
        self._cluster.machines = [Nodes("Standard_D4as_v7", spot=False, count=count // 10 + 1)]
        await self._transitions.first_day()  # which makes the table
        use = Use(awake, ONE, "westeurope", "trial", "1.0.0", PLANS["trial"].size)
        rows: list[Row] = []
        for number in range(count):
            slug, last = Slug(f"bench-{number:07}"), Transition(InstanceId(f"{number:010}"), 1, FIRST, None, use)
            row = transition_row(slug, last)
            # Of the tenant's own row, with which the ledger is compared once a day, what that needs, and some weight.
            tenant = {**row, "RowKey": keys.tenant_key(slug), "transition": row["entry"], "operation": "x" * 1500}
            rows += [row, tenant]
        await write_rows(self._endpoint, TENANTS, rows)

    async def fleet(self, count: int) -> Fleet:
        """Meter the first days, and measure on the third."""
        await self._at(FIRST + DAY + 2 * HOUR, self._metering.run)
        hourly = await self._at(FIRST + DAY + 5 * HOUR, self._metering.run)
        final = await self._at(FIRST + 2 * DAY + 2 * HOUR, self._metering.run)
        return Fleet(count, hourly, final, await self._at(FIRST + 2 * DAY + 3 * HOUR, self._copy))

    async def report(self) -> Run:
        """Write a year of daily sums, and measure a report of it."""
        collected = CollectedRows()
        writer = TableCostLedger(collected)
        for number in range(YEAR):
            await writer.write_day(*_sums(FIRST.date() - timedelta(days=number + 1)), is_final=True)
        await self.ledger.fleet_between(FIRST.date(), FIRST.date())  # which makes the table
        await write_rows(self._endpoint, DAILY, [each.row for each in collected.writes])
        costs = ReportCosts(self.ledger, TableTenantRepository(self._counted))

        async def read() -> None:
            last = FIRST.date() - timedelta(days=1)
            found = await costs.of_fleet(last - timedelta(days=YEAR - 1), last, Grouping.DAY)
            assert len(found.lines) == YEAR, f"{len(found.lines)} days"

        return await self._at(FIRST, read)

    async def _at(self, moment: datetime, work: Callable[[], Awaitable[None]]) -> Run:
        self._clock.step((moment - self._clock.now()).total_seconds())
        process, peak = psutil.Process(), [0]
        held = process.memory_info().rss

        async def watch() -> None:
            while True:
                peak[0] = max(peak[0], process.memory_info().rss)
                await asyncio.sleep(0.05)

        requests, began, cpu = self._counted.requests, time.monotonic(), time.process_time()
        watching = asyncio.create_task(watch())
        await work()
        watching.cancel()
        seconds, cpu = time.monotonic() - began, time.process_time() - cpu
        return Run(self._counted.requests - requests, seconds, cpu, max(0, peak[0] - held) / MEGABYTE)

    async def _copy(self) -> None:
        """Read the rows of a day, and write them once more."""

        async def of_shard(shard: str) -> None:
            rows = [each async for each in self.ledger.of_day(shard, FIRST.date() + DAY)]
            for start in range(0, len(rows), 100):
                await self.ledger.write(shard, rows[start : start + 100], is_final=True)

        await asyncio.gather(*map(of_shard, keys.SHARDS))


def _sums(day: date) -> tuple[FleetDay, Sequence[ClusterDay]]:
    """Return the sums of a day of a fleet with several clusters and all plans."""
    until = day_bounds(day)[1]
    costs = {each: Decimal("123.456789012345") for each in Component}
    plans = {name: PlanDay(dict(costs), awake=1000, asleep=4000, instances=5000) for name in PLANS}
    clusters = [
        ClusterDay(day, ClusterName(f"weu-{number}"), "westeurope", until, Decimal(1), (), Decimal(1), {}, plans)
        for number in range(CLUSTERS)
    ]
    months = {name: Spread(5000, Decimal(1), Decimal(1), Decimal(1)) for name in PLANS}
    return FleetDay(day, until, Decimal(1), Decimal(0), months, [], 0, "bench"), clusters


async def measure(tenants: int) -> Measured:
    """Measure with so many tenants, each time in empty tables."""
    fleets: list[Fleet] = []
    for is_awake in (True, False):
        async with empty_tables() as azurite:
            tables = tables_of(azurite)
            try:
                bench = Bench(tables, azurite.endpoint)
                await bench.fill(tenants, awake=is_awake)
                fleets.append(await bench.fleet(tenants))
            finally:
                await tables.close()
    async with empty_tables() as azurite:
        tables = tables_of(azurite)
        try:
            report = await Bench(tables, azurite.endpoint).report()
        finally:
            await tables.close()
    awake, asleep = fleets
    return Measured(awake, asleep, report)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options; exits with the usage for a wrong one."""
    parser = argparse.ArgumentParser(prog="./berth bench ledgers", description=__doc__)
    parser.add_argument("--tenants", type=int, default=TENANTS_BY_DEFAULT, help=f"tenants ({TENANTS_BY_DEFAULT})")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a goal is missed")
    options = parser.parse_args(arguments)
    if options.tenants < 1:
        parser.error("--tenants is at least 1")
    return options


async def main(arguments: Sequence[str]) -> int:
    """Measure, print, and return the exit code."""
    options = parse(arguments)
    logging.disable(logging.WARNING)  # a budget that is passed is logged for each tenant
    found = await measure(options.tenants)
    print(f"{'':42}{'requests':>10}{'s':>8}{'CPU s':>8}{'MB more':>9}")
    for name, fleet in (("awake", found.awake), ("asleep", found.asleep)):
        for run, what in (
            (fleet.hourly, "an hourly run"),
            (fleet.final, "a day becomes final"),
            (fleet.floor, "floor"),
        ):
            print(f"{f'{fleet.tenants} {name}: {what}':42}{_row(run)}")
    print(f"{f'a report of a year, {CLUSTERS} clusters':42}{_row(found.report)}")
    price = PRICES.book.at(OPERATIONS, "westeurope", FIRST)
    for name, fleet in (("awake", found.awake), ("asleep", found.asleep)):
        a_month = price.cost_of_number(Decimal(str(round(fleet.requests_a_day * 30, 3))))
        print(f"{name}: {fleet.requests_a_day:.3f} table requests a day for each tenant, ${a_month:.8f} a month")
    return judged(found.goals, check=options.check)


def _row(run: Run) -> str:
    return f"{run.requests:>10}{run.seconds:>8.1f}{run.cpu:>8.1f}{run.growth:>9.0f}"


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
