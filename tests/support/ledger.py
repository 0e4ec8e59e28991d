"""A cost ledger on fakes: a log of transitions that a test writes by hand, and workers that meter it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from pydantic import TypeAdapter

from shared.adapters.tables import keys
from shared.adapters.tables.costs import DAILY, TableCostLedger
from shared.adapters.tables.costs import TABLE as COSTS
from shared.adapters.tables.prices import TablePriceRepository
from shared.adapters.tables.rows import with_schema
from shared.adapters.tables.storage import Row, TableStorage, Upsert
from shared.adapters.tables.tenants import TABLE, transition_row
from shared.adapters.tables.transitions import TableTransitions
from shared.application.metering import Metering
from shared.application.price_books import PriceBooks
from shared.domain.assets import Nodes
from shared.domain.clusters import ClusterName
from shared.domain.cost_components import Component
from shared.domain.cost_rollups import ClusterDay
from shared.domain.costs import InstanceDay
from shared.domain.instances import InstanceId
from shared.domain.slugs import Slug
from shared.domain.uses import Transition, Use, next_transition
from shared.settings import CostSettings
from tests.support.builders import ASSETS, PLANS, PRICES, new_cluster
from tests.support.clock import FakeClock
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_connections import FakeConnections
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.memory_tables import MemoryTables
from tests.support.repositories import clusters_on, register

ONE = ClusterName("one")
_TRANSITION = TypeAdapter(Transition)
FIRST = datetime(2026, 3, 30, tzinfo=UTC)  # so that a month ends soon
FIRST_DAY = FIRST.date()
NODE_COMPONENTS = (Component.COMPUTE, Component.ATTACH, Component.IDLE)


def use(*, awake: bool = True, plan: str = "trial", cluster: ClusterName = ONE, version: str = "1.0.0") -> Use:
    """Return a use on a cluster in westeurope."""
    return Use(awake, cluster, "westeurope", plan, version, PLANS[plan].size)


class Log:
    """What happened, written as the tenants' repository does."""

    def __init__(self, storage: TableStorage) -> None:
        self._storage = storage
        self._last: dict[str, Transition] = {}

    async def change(self, slug: str, at: datetime, after: Use | None, instance: str = "") -> Transition | None:
        """Give a tenant's instance another use; return its transition, or None if nothing changes."""
        last = self._last.get(slug)
        found = next_transition(last, InstanceId(instance or f"i-{slug}"), after, at)
        if found is None or found is last:
            return None
        self._last[slug] = found
        tenant = {"PartitionKey": keys.shard(Slug(slug)), "RowKey": keys.tenant_key(slug), "slug": slug}
        tenant["transition"] = _TRANSITION.dump_json(found).decode()
        await self._storage.transact(TABLE, [Upsert(with_schema(tenant)), Upsert(transition_row(Slug(slug), found))])
        return found


class Ledger:
    """A ledger on one table storage, with a cluster and one worker that meters.

    Attributes:
        faults: What goes wrong with the tables of the worker.
    """

    def __init__(self, storage: MemoryTables, clock: FakeClock, cluster: FakeCluster, **settings: object) -> None:
        self.storage, self.clock, self.cluster, self.faults = storage, clock, cluster, Faults()
        self.tables = FaultyTables(storage, self.faults)
        self.ledger = TableCostLedger(self.tables)
        self.log = Log(storage)
        clusters = clusters_on(storage, clock)
        self.metering = Metering(
            ledger=self.ledger,
            transitions=TableTransitions(self.tables),
            clusters=clusters,
            connections=FakeConnections(clusters, {ONE: cluster}, Faults()),
            price_books=PriceBooks(document=PRICES, prices=TablePriceRepository(storage)),
            assets=ASSETS,
            plans=PLANS,
            clock=clock,
            settings=CostSettings.model_validate(settings),
        )

    def has_nodes(self, count: int, machine: str = "Standard_D4as_v7") -> None:
        """Let the cluster have so many nodes."""
        self.cluster.machines = [Nodes(machine, spot=False, count=count)]

    async def meter_at(self, moment: datetime) -> None:
        """Run the timer at a moment."""
        self.clock.step((moment - self.clock.now()).total_seconds())
        await self.metering.run()

    def another_worker(self) -> "Ledger":
        """Return one more worker on the same tables, whose calls have faults of their own."""
        return Ledger(self.storage, self.clock, self.cluster)


async def new_ledger(**settings: object) -> Ledger:
    """Return a ledger whose cluster is registered in westeurope."""
    clock = FakeClock(FIRST)
    storage, cluster = MemoryTables(clock.now), FakeCluster(clock)
    await register(clusters_on(storage, clock), new_cluster(region="westeurope", uid=cluster.identity))
    return Ledger(storage, clock, cluster, **settings)


def rows_of(storage: MemoryTables, *tables: str) -> dict[str, dict[tuple[str, str], Row]]:
    """Return all rows of some tables, without their ETags."""
    return {table: {key: row for key, (row, _) in storage.rows.get(table, {}).items()} for table in tables}


def days(start: date, count: int) -> Sequence[date]:
    """Return so many days from one on."""
    return [start + timedelta(days=number) for number in range(count)]


async def of_tenant(held: Ledger, slug: str, count: int = 10) -> Sequence[InstanceDay]:
    """Return a tenant's rows of the first days."""
    return await held.ledger.of_tenant(Slug(slug), days(FIRST_DAY, count))


async def of_cluster(held: Ledger, count: int = 10) -> Sequence[ClusterDay]:
    """Return the sums of the clusters of the first days."""
    return await held.ledger.clusters_between(FIRST_DAY, FIRST_DAY + timedelta(days=count - 1))


def final_rows(held: Ledger) -> object:
    """Return the rows of all final days."""
    found = rows_of(held.storage, COSTS, DAILY)
    return {
        table: {key: row for key, row in of_table.items() if key[0] not in ("today", "ledger")}
        for table, of_table in found.items()
    }


HISTORY = [
    (0, "acme", use()),
    (3, "beta", use(plan="standard")),
    (30, "acme", use(awake=False)),
    (31, "gamma", use()),
    (50, "beta", None),
    (77, "acme", use(version="2.0.0")),
    (96, "gamma", use(awake=False)),
    (600, "gamma", use()),
]


async def play(held: Ledger, history: Sequence[tuple[float, str, Use | None]]) -> None:
    """Let happen what a history has: after how many hours, whose instance, and its use from then on."""
    for hour, slug, after in history:
        await held.log.change(slug, FIRST + timedelta(hours=hour), after)
