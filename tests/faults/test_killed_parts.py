"""Short rounds of the cases of the fault matrix in which the host, the task hub or both are killed."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.faults.cases import Case, Round, cases
from tests.faults.matrix import first_round, run_case

SEED = 1
SHORT = [case for case in cases() if case.in_short and case.workers == 1 and " killed " in case.name]


@pytest.fixture(scope="module")
async def start() -> AsyncIterator[Round]:
    async with first_round(SEED) as held:
        yield held


@pytest.mark.parametrize(("number", "case"), list(enumerate(SHORT)), ids=[case.name for case in SHORT])
async def test_all_invariants_hold_after(start: Round, number: int, case: Case) -> None:
    result = await run_case(case, replace(start, number=number))
    assert not result.violations, result.log
    assert result.struck
