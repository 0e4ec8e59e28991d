"""The stack that the tests of a directory share, whose conftest.py takes these fixtures; it ends with the last test."""

from collections.abc import AsyncIterator

import pytest

from tests.support.browser import Visitor, visitor
from tests.support.stack import ProxiedStack, proxied_stack


@pytest.fixture(scope="package")
async def shared_stack() -> AsyncIterator[ProxiedStack]:
    async with proxied_stack() as held:
        await held.ended(await held.sign_up())  # the tables are made on first use, which tests do not count
        yield held


@pytest.fixture
async def berth(shared_stack: ProxiedStack) -> AsyncIterator[ProxiedStack]:
    """The whole stack at rest. Each test leaves it running and without faults."""
    await shared_stack.at_rest()
    shared_stack.reset()
    yield shared_stack
    shared_stack.reset()


@pytest.fixture(scope="package")
async def browser(shared_stack: ProxiedStack) -> AsyncIterator[Visitor]:
    async with visitor(shared_stack.stack.control_plane.gateway) as held:
        yield held
