"""One round of the fault matrix; `./berth test faults` plays all of it at length."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.cases import Case, Field, cases
from tests.faults.matrix import play, playing_field

SEED = 1


@pytest.fixture(scope="module")
async def field() -> AsyncIterator[Field]:
    async with playing_field(SEED) as held:
        yield held


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases() if case.in_short])
async def test_nothing_is_broken_by(field: Field, case: Case) -> None:
    result = await play(case, field)
    assert not result.violations
