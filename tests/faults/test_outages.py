"""Outages, lost answers, crashes and meddling; `./berth test faults` plays all of them at length."""

from dataclasses import replace

import pytest

from tests.faults.cases import Case, Field, outages
from tests.faults.matrix import play

SHORT = [case for case in outages() if case.in_short]


@pytest.mark.parametrize(("number", "case"), list(enumerate(SHORT)), ids=[case.name for case in SHORT])
async def test_nothing_is_broken_by(field: Field, number: int, case: Case) -> None:
    result = await play(case, replace(field, number=number))
    assert not result.violations
