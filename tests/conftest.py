"""The real parts that tests run on, each started once for the whole run."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from azure.core.credentials import AzureNamedKeyCredential

from local.kubernetes.control_plane import ControlPlane, Options, start_control_plane
from local.ports import Ports
from local.processes import Processes
from local.table_server import ACCOUNT, KEY, Azurite, start_azurite
from shared.adapters.retry import RetryBudget
from shared.adapters.tables.connection import Tables
from tests.stacks import Rig, rig


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
async def control_plane(processes: Processes, ports: Ports) -> ControlPlane:
    return await start_control_plane(processes, ports, "local", Options(ready_seconds=0.2, slow_seconds=60))


@pytest.fixture(scope="session")
async def tables(azurite: Azurite) -> AsyncIterator[Tables]:
    held = tables_at(azurite.endpoint)
    yield held
    await held.close()


@pytest.fixture
async def dead_tables() -> AsyncIterator[Tables]:
    held = tables_at(f"http://127.0.0.1:9/{ACCOUNT}", budget=0.5)
    yield held
    await held.close()


def tables_at(endpoint: str, *, budget: float = 10.0) -> Tables:
    credential = AzureNamedKeyCredential(ACCOUNT, KEY)
    return Tables(endpoint, credential, budget=RetryBudget(seconds=budget), try_seconds=5)


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = 20.0) -> None:
    """Poll until a condition holds; fail after the deadline."""
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


@pytest.fixture(scope="session")
async def shared_rig() -> AsyncIterator[Rig]:
    async with rig() as held:
        await held.ended(await held.sign_up())  # the tables are made on first use, which tests do not count
        yield held


@pytest.fixture
async def berth(shared_rig: Rig) -> AsyncIterator[Rig]:
    """The whole stack at rest. Each test leaves it running and without faults."""
    await shared_rig.at_rest()
    shared_rig.reset()
    yield shared_rig
    shared_rig.reset()
