"""One round of the fault matrix; `./berth test faults` plays all of it at length."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from tests.faults.cases import Case, Field, cases
from tests.faults.matrix import play, playing_field

SEED = 1


@pytest.fixture(scope="module")
async def field() -> AsyncIterator[Field]:
    async with playing_field(SEED) as held:
        yield held


SHORT = [case for case in cases() if case.in_short]


def halves() -> Iterator[object]:
    """Yield the cases for two stacks side by side, with numbers so that they do not all strike at the first write."""
    for number, case in enumerate(SHORT):
        yield pytest.param(case, number, id=case.name, marks=pytest.mark.xdist_group(f"faults {number % 2}"))


@pytest.mark.parametrize(("case", "number"), halves())
async def test_nothing_is_broken_by(field: Field, case: Case, number: int) -> None:
    result = await play(case, replace(field, number=number))
    assert not result.violations
