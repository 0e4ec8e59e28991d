"""The same tests against the fakes and the real thing: each fixture here is both in turn."""

import pytest

from shared.adapters.tables.storage import TableStorage
from shared.adapters.tables.tenants import TableTenantRepository
from shared.domain.clusters import Cluster
from tests.support.builders import new_cluster, new_slug
from tests.support.by_hand import Administered, FakeByHand, KubectlByHand
from tests.support.clock import FakeClock
from tests.support.fake_cluster import FakeCluster
from tests.support.faults import Faults
from tests.support.faulty_tables import FaultyTables
from tests.support.memory_tables import MemoryTables
from tests.support.repositories import clusters_on, register


@pytest.fixture(params=["memory", "azurite"])
def storage(request: pytest.FixtureRequest) -> TableStorage:
    """Table storage: in memory, and Azurite."""
    return MemoryTables() if request.param == "memory" else request.getfixturevalue("tables")


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def faulty(storage: TableStorage, faults: Faults) -> FaultyTables:
    """The same table storage, with faults."""
    return FaultyTables(storage, faults)


@pytest.fixture
def tenants(storage: TableStorage) -> TableTenantRepository:
    return TableTenantRepository(storage)


@pytest.fixture
async def cluster(storage: TableStorage) -> Cluster:
    """A registered cluster that no other test has."""
    return await register(clusters_on(storage), new_cluster("c" + new_slug()))


@pytest.fixture(params=["memory", "api-server"])
def administered(request: pytest.FixtureRequest) -> Administered:
    """A cluster in memory, and one with a real API server."""
    if request.param == "memory":
        fake = FakeCluster(FakeClock())
        return Administered(fake, FakeByHand(fake))
    return Administered(request.getfixturevalue("api_cluster"), KubectlByHand(request.getfixturevalue("control_plane")))
