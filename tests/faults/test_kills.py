"""Host and task hub are killed at some write of each change; `./berth test faults` goes through all writes."""

from dataclasses import replace

import pytest

from tests.faults.cases import Case, Field, kills
from tests.faults.matrix import play

SHORT = [case for case in kills() if case.in_short]


@pytest.mark.parametrize(("number", "case"), list(enumerate(SHORT)), ids=[case.name for case in SHORT])
async def test_nothing_is_broken_by(field: Field, number: int, case: Case) -> None:
    result = await play(case, replace(field, number=number))  # so that they do not all strike at the first write
    assert not result.violations
