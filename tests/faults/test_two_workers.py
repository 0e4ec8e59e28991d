"""Short rounds of the cases of the fault matrix that need two workers, with late redelivery."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.faults.cases import Case, Round, cases
from tests.faults.matrix import first_round, run_case

SEED = 1
REDELIVERY = 2.0
SHORT = [case for case in cases() if case.in_short and case.workers == 2]


@pytest.fixture(scope="module")
async def start() -> AsyncIterator[Round]:
    async with first_round(SEED, workers=2, redelivery=REDELIVERY) as held:
        yield held


@pytest.mark.parametrize(("number", "case"), list(enumerate(SHORT)), ids=[case.name for case in SHORT])
async def test_all_invariants_hold_after(start: Round, number: int, case: Case) -> None:
    result = await run_case(case, replace(start, number=number + 3))
    assert not result.violations, result.log
    assert result.struck
