"""The real parts that tests run on, each started once for the whole run."""

import json
from collections.abc import AsyncIterator

import pytest
from azure.core.credentials import AzureNamedKeyCredential
from hypothesis import settings
from xdist.remote import Producer

from local.kubernetes.control_plane import BERTH, ControlPlane, Options, start_control_plane
from local.ports import Ports
from local.processes import Processes
from local.table_server import ACCOUNT, KEY, Azurite, start_azurite
from local.telemetry.process import Telemetry, start_telemetry
from shared.adapters.clock import SystemClock
from shared.adapters.kubernetes.access import connect
from shared.adapters.kubernetes.cluster import KubernetesApiCluster
from shared.adapters.retry import RetryPolicy
from shared.adapters.tables.connection import AzureTableStorage
from shared.domain.clusters import KubeconfigAccess
from shared.settings import KubernetesSettings
from tests.support.builders import TENANT_SETTINGS
from tests.support.scheduling import LONGEST, TESTS, Scheduling

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("berth", deadline=None)
settings.load_profile("berth")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Return the scheduling of `./berth test`."""
    return Scheduling(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first."""
    order = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: min(order.get(item.path, len(order)), order.get(item.path.parent, len(order))))


@pytest.fixture(scope="session")
def ports() -> Ports:
    return Ports()


@pytest.fixture(scope="session")
async def processes(ports: Ports) -> AsyncIterator[Processes]:
    held = Processes()
    yield held
    await held.close()
    ports.release()


@pytest.fixture(scope="session")
async def azurite(processes: Processes, ports: Ports) -> Azurite:
    return await start_azurite(processes, ports)


@pytest.fixture(scope="session")
async def telemetry(processes: Processes, ports: Ports) -> Telemetry:
    return await start_telemetry(processes, ports)


@pytest.fixture(scope="session")
async def control_plane(processes: Processes, ports: Ports) -> ControlPlane:
    return await start_control_plane(processes, ports, "local", Options(ready_seconds=0.2, slow_seconds=60))


@pytest.fixture(scope="session")
async def api_cluster(control_plane: ControlPlane) -> AsyncIterator[KubernetesApiCluster]:
    """A cluster with a real API server."""
    kubeconfig = control_plane.directory / "tests.kubeconfig"
    kubeconfig.write_text(json.dumps(control_plane.context(BERTH)))
    settings = KubernetesSettings(watch_timeout=5, kubeconfig=str(kubeconfig))
    client = await connect(KubeconfigAccess("local"), settings)
    held = KubernetesApiCluster(client, settings, SystemClock(), TENANT_SETTINGS.owner)
    yield held
    await held.close()


@pytest.fixture(scope="session")
async def tables(azurite: Azurite) -> AsyncIterator[AzureTableStorage]:
    held = tables_at(azurite.endpoint)
    yield held
    await held.close()


@pytest.fixture
async def dead_tables() -> AsyncIterator[AzureTableStorage]:
    held = tables_at(f"http://127.0.0.1:9/{ACCOUNT}", timeout=0.5)
    yield held
    await held.close()


def tables_at(endpoint: str, *, timeout: float = 10.0) -> AzureTableStorage:
    credential = AzureNamedKeyCredential(ACCOUNT, KEY)
    return AzureTableStorage(endpoint, credential, policy=RetryPolicy(total_timeout=timeout), attempt_timeout=5)
