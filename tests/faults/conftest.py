"""A short round of the fault matrix; `./berth test faults` plays all of it at length."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.cases import Field
from tests.faults.matrix import playing_field

SEED = 1


@pytest.fixture(scope="module")
async def field() -> AsyncIterator[Field]:
    async with playing_field(SEED) as held:
        yield held
