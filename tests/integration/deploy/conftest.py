"""The stack that these tests share."""

from collections.abc import AsyncIterator

import pytest

from tests.support.deployed_stack import Deployed, deployed_stack


@pytest.fixture(scope="package")
async def deployed() -> AsyncIterator[Deployed]:
    """A stack whose cluster is prepared, not registered in that way yet."""
    async with deployed_stack() as held:
        yield held
