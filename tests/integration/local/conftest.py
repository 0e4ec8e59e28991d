"""The waiting room that the tests of one file share."""

from collections.abc import AsyncGenerator

import pytest

from local.ports import Ports
from local.processes import Processes
from tests.support.waiting_room import WaitingRoom, told, waiting_room


@pytest.fixture(scope="module")
async def caddy(processes: Processes, ports: Ports) -> AsyncGenerator[WaitingRoom]:
    async with waiting_room(processes, ports) as held:
        yield held


@pytest.fixture
def room(caddy: WaitingRoom) -> WaitingRoom:
    """The room as if nobody had asked it yet."""
    caddy.asked.clear()
    caddy.respond = told()
    return caddy
