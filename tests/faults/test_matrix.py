"""A short round of the fault matrix, with test_killed_parts.py; `./berth test faults` runs all of it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.faults.cases import SHORT_KILLS, Case, Round, cases
from tests.faults.faults import DidNotStrikeError
from tests.faults.matrix import TRIES, first_round, run_case

SEED = 1
SHORT = [case for case in cases() if case.in_short and case.workers == 1 and " killed " not in case.name]


@pytest.fixture(scope="module")
async def start() -> AsyncIterator[Round]:
    async with first_round(SEED) as held:
        yield held


async def test_a_fault_that_hits_nothing_is_tried_again(start: Round) -> None:
    numbers: set[int] = set()

    async def miss(current: Round) -> None:
        numbers.add(current.number)
        raise DidNotStrikeError

    result = await run_case(Case("miss", miss), start)
    assert (result.struck, result.violations, len(numbers)) == (False, [], TRIES)


@pytest.mark.parametrize(
    ("number", "case"), list(enumerate(SHORT, len(SHORT_KILLS))), ids=[case.name for case in SHORT]
)
async def test_all_invariants_hold_after(start: Round, number: int, case: Case) -> None:
    result = await run_case(case, replace(start, number=number))  # so that the faults hit different writes
    assert not result.violations, result.log
    assert result.struck
