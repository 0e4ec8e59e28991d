"""What the tests of the ops pages share."""

import pytest

from tests.support.ops_pages import OpsVisitor, answer, ops_settings
from tests.support.world import World, new_world


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = await new_world(settings=ops_settings())
    answer(monkeypatch, made)
    return made


@pytest.fixture
async def visitor(world: World) -> OpsVisitor:
    signed_in = OpsVisitor()
    await signed_in.sign_in(world)
    return signed_in
