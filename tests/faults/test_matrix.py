"""A short round of the fault matrix; `./berth test faults` plays all of it at length."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.faults.cases import Case, Field, cases
from tests.faults.matrix import play, playing_field

SEED = 1
SHORT = [case for case in cases() if case.in_short]


@pytest.fixture(scope="module")
async def field() -> AsyncIterator[Field]:
    async with playing_field(SEED) as held:
        yield held


@pytest.mark.parametrize(("number", "case"), list(enumerate(SHORT)), ids=[case.name for case in SHORT])
async def test_nothing_is_broken_by(field: Field, number: int, case: Case) -> None:
    result = await play(case, replace(field, number=number))  # so that they do not all strike at the first write
    assert not result.violations
