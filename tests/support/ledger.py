"""A cost ledger on fakes: a log of transitions that a test writes by hand, and workers that meter it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from pydantic import TypeAdapter

from shared.adapters.tables import keys
from shared.adapters.tables.costs import TableCostLedger
from shared.adapters.tables.prices import TablePriceRepository
from shared.adapters.tables.rows import with_schema
from shared.adapters.tables.storage import Row, TableStorage, Upsert
from shared.adapters.tables.tenants import TABLE, transition_row
from shared.adapters.tables.transitions import TableTransitions
from shared.application.metering import Metering
from shared.application.price_books import PriceBooks
from shared.domain.assets import Nodes
from shared.domain.clusters import ClusterName
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
